"""Rules tried on recorded messages come to what the node itself came to."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import pytest

from agent.adapters.cel import CelRuleCompiler
from agent.cli.rule_trial import TriedEvent, of_one_node, try_rules
from agent.cli.trial_ticks import Ticks
from agent.contract.objects import to_objects
from agent.contract.payloads import encode, stream_head
from agent.contract.policy import Policy
from agent.contract.recorded import read_recording
from agent.contract.topics import Topics
from agent.domain.rules.engine import Engine
from agent.domain.rules.prepared import RuleBook
from agent.domain.scene import Scene, Sighting
from agent.domain.stamp import Stamp, rfc3339
from agent.pipeline.frame_message import frame_message
from agent.pipeline.results import FrameResult
from agent.pipeline.rulebook import prepare
from agent.pipeline.seeing import Seeing
from tests.pipeline.test_seeing import DOOR, LEFT_HALF, frame

WALL_NS: Final = 1_700_000_000_000_000_000
INSIDE, OUTSIDE = (0.45, 0.5), (0.55, 0.5)


def policy_of(**rules: Any) -> Policy:
    door = {"kind": "synthetic", "tracking": {}, "zones": {"hall": {"polygon": LEFT_HALF}}}
    return Policy.model_validate({"sources": {"door": door}, "rules": rules})


def book_of(policy: Policy) -> RuleBook:
    return prepare(policy, compiler=CelRuleCompiler()).book


def walked(*steps: tuple[float, float] | None) -> list[FrameResult]:
    """A tenth of a second each; None: he is not found in this one."""
    frames = []
    for step, place in enumerate(steps):
        result = frame(*(() if place is None else (place,)), at_s=1 + step / 10, number=step)
        at_ns = result.captured.monotonic_ns
        frames.append(
            FrameResult(
                **{key: getattr(result, key) for key in FrameResult.__slots__ if key != "captured"},
                captured=Stamp(WALL_NS + at_ns, at_ns),
            )
        )
    return frames


def on_the_node(policy: Policy, frames: list[FrameResult]) -> tuple[list[TriedEvent], list[bytes]]:
    """The events as the node has them, and the messages that it sends meanwhile."""
    seeing, numbers, messages = Seeing(policy), count(1), []
    begin = frames[0].captured
    engine = Engine(now=begin, new_id=lambda: str(next(numbers)))
    changes = engine.adopt(book_of(policy), begin)
    for result in frames:
        seen = seeing.see(result)
        changes += engine.on_scene(seen.scene, result.captured)
        head = stream_head(Topics("plant", "n1"), result.captured, synced=True, boot="b")
        told = to_objects(
            seen.result.detections,
            result.model.class_names,
            width_px=result.width_px,
            height_px=result.height_px,
            sightings=seen.scene.objects,
        )
        message = frame_message(seen.result, head=head, objects=told, config_version=1, now=result.captured)
        messages.append(encode(message))
    events: dict[str, TriedEvent] = {}
    for change in changes:
        if change.phase == "begin":
            events[change.event] = TriedEvent(change.rule, change.began, dict(change.values))
        elif change.phase == "end":
            events[change.event].ended, events[change.event].reason = change.ended, change.reason
    return list(events.values()), messages


@pytest.mark.parametrize(
    "steps",
    [
        [INSIDE] * 40,
        [*[INSIDE] * 20, None, *[INSIDE] * 20],
        [*[INSIDE] * 20, *[None] * 15, *[INSIDE] * 20],
        [*[INSIDE] * 20, *[OUTSIDE] * 3, *[INSIDE] * 20],
        [*[INSIDE] * 20, *[OUTSIDE] * 15, *[INSIDE] * 20],
        [*[INSIDE] * 20, *[OUTSIDE] * 3, None, *[OUTSIDE] * 3, *[INSIDE] * 40],
        [*[INSIDE] * 20, *[None] * 80, *[INSIDE] * 20],
    ],
    ids=["stays", "missed once", "hidden", "trembles", "leaves", "leaves while hidden", "is lost"],
)
def test_dwelling_is_what_it_was_on_the_node(steps: list[tuple[float, float] | None]) -> None:
    policy = policy_of(
        long={"when": 'dwell("person", zone="hall") > 1.5'}, longer={"when": 'dwell(zone="hall") > 3'}
    )
    live, messages = on_the_node(policy, walked(*steps))
    trial = try_rules(book_of(policy), of_one_node(read_recording(messages).messages, None))
    assert live
    assert list(trial.events) == live


def test_a_track_of_another_boot_is_another_one() -> None:
    policy = policy_of(long={"when": 'dwell("person", zone="hall") > 3'})
    _, messages = on_the_node(policy, walked(*[INSIDE] * 40))
    half = [each.replace(b'"boot":"b"', b'"boot":"c"') for each in messages[20:]]
    whole, parted = (
        try_rules(book_of(policy), of_one_node(read_recording(each).messages, None)).events
        for each in (messages, messages[:20] + half)
    )
    assert (len(whole), len(parted)) == (1, 0)


def scene(at_s: float, people: int = 0) -> Scene:
    at_ns = round(at_s * 1e9)
    return Scene(DOOR, Stamp(WALL_NS + at_ns, at_ns), (Sighting("person", 0.9, (0, 0, 1, 1)),) * people)


DAY_S: Final = 86_400.0


@pytest.mark.parametrize("gap_s", [30 * DAY_S, 60 * 366 * DAY_S])
def test_of_a_long_gap_only_the_time_in_which_something_can_come_is_gone_through(gap_s: float) -> None:
    waits = {"for_s": 5, "end_for_s": 7, "cool_down_s": 9}
    book = book_of(policy_of(crowd={"when": "count() > 0", **waits}))
    ticks = list(Ticks(book, scene(0).at).until(scene(gap_s).at))
    assert len(ticks) < 4 * (30 + 5 + 7 + 9 + 5)
    assert ticks[-1].monotonic_ns == scene(gap_s).at.monotonic_ns - 1
    trial = try_rules(book, [scene(0, 1), scene(gap_s, 1), scene(gap_s + 1, 1)])
    (event,) = trial.events
    assert event.lasted_s == pytest.approx(30, abs=2)


def test_hours_and_ages_go_on_in_a_gap_for_a_week() -> None:
    hours = {"schedule": {"from": "22:00", "to": "06:00"}}
    book = book_of(policy_of(night={"when": 'age("door") > 3600', **hours}))
    trial = try_rules(book, [scene(0, 1), scene(30 * DAY_S)])
    assert [(rfc3339(each.began.wall_ns)[:16], each.reason) for each in trial.events] == [
        ("2023-11-14T23:14", "schedule"),
        *((f"2023-11-{day}T22:00", "schedule") for day in range(15, 21)),
        ("2023-11-21T22:00", "over"),
    ]


def test_time_is_looked_at_between_near_messages_as_on_the_node() -> None:
    ticks = Ticks(book_of(policy_of()), scene(0.1).at)
    assert [at.monotonic_ns / 1e9 for at in ticks.until(scene(1.0).at)] == [0.25, 0.5, 0.75]
    assert [at.monotonic_ns / 1e9 for at in ticks.until(scene(1.3).at)] == [1.25]
    assert not list(ticks.until(scene(1.3).at))
