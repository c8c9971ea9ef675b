"""From results to messages in the outbox."""

import asyncio
import json
import weakref
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest

from agent.contract import payloads
from agent.contract.policy import Policy, Publish
from agent.contract.schemas import payload_schema
from agent.contract.topics import Topics
from agent.domain.detections import Detections, no_detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.reading import Reading, Score
from agent.domain.stamp import Stamp
from agent.pipeline.eventing import Eventing, Report
from agent.pipeline.gathering import MOST_TOLD, Gathered
from agent.pipeline.handover import Handover
from agent.pipeline.results import FrameResult, Result, SensorReadings, WindowResult
from agent.pipeline.seeing import Seeing
from agent.pipeline.supervise import Ticks
from agent.pipeline.withholding import Withholding
from agent.ports import Row
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import facts, one_person
from tests.fakes.outbox import FakeOutbox
from tests.polling import until


class WeaklyReferable(Reading):
    """A reading whose end can be seen."""


EVERYTHING = Policy()
DOOR, MOTOR = SourceName("door"), SourceName("motor")


async def eventing_of(
    results: list[Result],
    *,
    policy: Policy = EVERYTHING,
    which: Literal["last", "mean", "all"] = "last",
    metrics: FakeMetrics | None = None,
) -> list[Row]:
    clock = FakeClock()
    handover: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=2000)
    outbox = FakeOutbox(clock=clock)
    eventing = Eventing(
        results=handover,
        outbox=outbox,
        topics=Topics("plant", "nano-42"),
        clock=clock,
        metrics=metrics or FakeMetrics(),
        ticks=Ticks(clock=clock),
        reports={MOTOR: Report(1.0, which)},
        config_version=42,
        seeing=Seeing(policy),
        withholding=Withholding(policy),
        expiry_overrides_s={"telemetry": 60},
    )
    for result in results:
        assert handover.put(result, timeout_s=1)
    handover.close()
    await asyncio.wait_for(eventing.run(), timeout=10)
    return list(outbox.rows.values())


def frame_result(number: int, detections: Detections) -> FrameResult:
    ms = 1_000_000
    return FrameResult(
        source=DOOR,
        number=number,
        width_px=64,
        height_px=48,
        captured=Stamp(1_700_000_000_123_000_000, 9_900 * ms),
        detections=detections,
        model=facts(),
        lane=1,
        timing=InferenceTiming(9_910 * ms, 9_912 * ms, 9_970 * ms, 9_971 * ms),
    )


def reading(name: str, value: float, at_s: float, **kwargs: Any) -> Reading:
    return Reading(name, value, "g", Stamp(int(1.7e18 + at_s * 1e9), int(at_s * 1e9)), **kwargs)


async def test_frame_becomes_a_message_of_the_contract() -> None:
    (draft,) = await eventing_of([frame_result(5, one_person())])
    message = json.loads(draft.body)

    assert (draft.stream, draft.priority, draft.expiry_s) == ("detections/door", "detection", 7 * 86_400)
    sent = json.loads(payloads.with_sequence(draft.body, epoch="01JC", seq=3))
    jsonschema.validate(sent, payload_schema(payloads.Detections))
    assert message["time"] == "2023-11-14T22:13:20.123Z"
    assert message["monotonic_ms"] == 9_900
    assert message["lane"] == 1
    assert message["model"] == {
        "name": "people",
        "version": "1.0.0",
        "sha256": "ab" * 32,
        "graph": "exported",
        "provider": "cpu",
        "precision": "fp32",
    }
    assert message["frame"] == {"width": 64, "height": 48, "number": 5}
    assert message["latency_ms"] == {"capture_to_inference": 12.0, "inference": 58.0, "total": 100.0}
    (found,) = message["objects"]
    assert found["class"] == "person"
    assert found["box"] == pytest.approx([1 / 64, 2 / 48, 3 / 64, 4 / 48], abs=1e-8)
    assert "keypoints" not in found
    assert message["config_version"] == 42


@pytest.mark.parametrize(("detections", "numbers"), [("always", [0, 1]), ("detected", [1])])
async def test_empty_frame_is_told_unless_the_policy_says_otherwise(
    detections: Literal["always", "detected"], numbers: list[int]
) -> None:
    drafts = await eventing_of(
        [frame_result(0, no_detections()), frame_result(1, one_person())],
        policy=Policy(publish=Publish(detections=detections)),
    )
    assert [json.loads(draft.body)["frame"]["number"] for draft in drafts] == numbers


async def test_readings_and_scores_become_one_message_a_period() -> None:
    results: list[Result] = [
        SensorReadings(MOTOR, (reading("x", step, step / 10), reading("y", -step, step / 10)))
        for step in range(25)
    ]
    score = Score("motor-anomaly", Stamp(10, 10), Stamp(20, 20), 0.31, 0.8)
    results.insert(5, WindowResult(MOTOR, score, InferenceTiming(0, 0, 0, 0)))

    drafts = await eventing_of(results, which="last")
    messages = [json.loads(draft.body) for draft in drafts]

    assert [[r["value"] for r in m["readings"]] for m in messages] == [[9, -9], [19, -19], [24, -24]]
    assert [len(m["scores"]) for m in messages] == [1, 0, 0]
    assert messages[0]["scores"][0]["threshold"] == 0.8
    assert {draft.expiry_s for draft in drafts} == {60}
    for draft in drafts:
        sent = json.loads(payloads.with_sequence(draft.body, epoch="01JC", seq=1))
        jsonschema.validate(sent, payload_schema(payloads.Telemetry))


async def test_all_readings_are_told_when_the_policy_says_so() -> None:
    results: list[Result] = [SensorReadings(MOTOR, (reading("x", step, step / 10),)) for step in range(10)]
    (draft,) = await eventing_of(results, which="all")
    assert [r["value"] for r in json.loads(draft.body)["readings"]] == list(range(10))


async def test_fast_sensor_is_told_before_its_message_grows_too_large() -> None:
    many = tuple(reading("x", step, step / 1e6) for step in range(2 * MOST_TOLD + 1))
    drafts = await eventing_of([SensorReadings(MOTOR, many)], which="all")
    told = [[r["value"] for r in json.loads(draft.body)["readings"]] for draft in drafts]

    assert [len(values) for values in told] == [MOST_TOLD, MOST_TOLD, 1]
    assert [value for values in told for value in values] == list(range(2 * MOST_TOLD + 1))


async def test_many_scores_are_told_before_their_message_grows_too_large() -> None:
    score = Score("motor-anomaly", Stamp(10, 10), Stamp(20, 20), 0.31, 0.8)
    scored = WindowResult(MOTOR, score, InferenceTiming(0, 0, 0, 0))
    results: list[Result] = [scored] * (MOST_TOLD + 1)
    drafts = await eventing_of(results)
    assert [len(json.loads(draft.body)["scores"]) for draft in drafts] == [MOST_TOLD, 1]


@pytest.mark.parametrize("which", ["last", "mean"])
def test_what_is_not_told_is_not_kept(which: Literal["last", "mean"]) -> None:
    gathered = Gathered(began_ns=0, which=which)
    kept = []
    for step in range(100):
        one = WeaklyReferable("x", step, "g", Stamp(0, step))
        kept.append(weakref.ref(one))
        gathered.add(one)
        del one
    assert sum(ref() is not None for ref in kept) == 1
    assert not gathered.full


def test_mean_is_of_the_good_readings_at_the_last_ones_time() -> None:
    readings = [
        reading("x", 1.0, 0.1),
        reading("x", 3.0, 0.2),
        reading("x", 900.0, 0.3, quality="bad"),
        reading("y", 5.0, 0.1, quality="bad"),
    ]
    gathered = Gathered(began_ns=0, which="mean")
    for one in readings:
        gathered.add(one)
    x, y = gathered.readings()
    assert (x.value, x.at.monotonic_ns, x.quality) == (2.0, 300_000_000, "good")
    assert (y.value, y.quality) == (5.0, "bad")


async def test_sensor_that_fell_silent_is_told_of_when_its_period_is_over() -> None:
    clock = FakeClock()
    handover: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=10)
    outbox = FakeOutbox(clock=clock)
    eventing = Eventing(
        results=handover,
        outbox=outbox,
        topics=Topics("plant", "nano-42"),
        clock=clock,
        metrics=FakeMetrics(),
        ticks=Ticks(clock=clock),
        reports={MOTOR: Report(1.0, "last")},
        config_version=42,
        seeing=Seeing(Policy()),
        withholding=Withholding(Policy()),
        expiry_overrides_s={},
    )
    running = asyncio.ensure_future(eventing.run())
    at_s = clock.now().monotonic_ns / 1e9
    assert handover.put(SensorReadings(MOTOR, (reading("x", 1.0, at_s),)), timeout_s=1)
    await until(lambda: not len(handover))
    assert not outbox.rows

    clock.advance(2.0)
    await until(lambda: len(outbox.rows) == 1)

    handover.close()
    await asyncio.wait_for(running, timeout=10)
    assert len(outbox.rows) == 1


async def test_tracks_and_zones_are_told_and_what_a_zone_excludes_is_not() -> None:
    whole, corner = [[0, 0], [1, 0], [1, 1], [0, 1]], [[0.9, 0.9], [1, 0.9], [1, 1]]
    camera = {
        "kind": "synthetic",
        "tracking": {"confirm": 1},
        "zones": {"hall": {"polygon": whole}, "tree": {"polygon": corner, "mode": "exclude"}},
    }
    policy = Policy.model_validate({"sources": {"door": camera}})
    both = Detections(
        boxes=np.array([[1.0, 2.0, 3.0, 4.0], [60.0, 40.0, 64.0, 45.0]]),
        confidence=np.array([0.9, 0.8], np.float32),
        class_id=np.zeros(2, np.int32),
    )
    (draft,) = await eventing_of([frame_result(0, both)], policy=policy)
    message = json.loads(draft.body)
    assert [(one["track"], one["zones"]) for one in message["objects"]] == [(1, ["hall"])]
    sent = json.loads(payloads.with_sequence(draft.body, epoch="01JC", seq=3))
    jsonschema.validate(sent, payload_schema(payloads.Detections))


async def test_frames_that_are_not_told_are_counted_and_given_no_number() -> None:
    policy = Policy(publish=Publish(detections="changed"))
    metrics = FakeMetrics()
    frames: list[Result] = [frame_result(number, one_person()) for number in range(3)]
    rows = await eventing_of(frames, policy=policy, metrics=metrics)
    assert [row.seq for row in rows] == [1]
    assert metrics.counts["detections_withheld_total cause=unchanged source=door"] == 2
    assert metrics.counts["frames_inferred_total source=door"] == 3
