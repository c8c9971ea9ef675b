"""The answer of `explain`, and its remarks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from agent.contract.policy import Policy
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.considered import Considered
from agent.domain.errors import Code, RefusedError
from agent.domain.fates import Fates
from agent.domain.ids import SourceName
from agent.pipeline.explaining import Explaining
from agent.pipeline.mailbox import MailboxStatistics
from agent.pipeline.recollection import Recollection
from tests.fakes.clock import FakeClock
from tests.pipeline.test_recollection import frame

DOOR = SourceName("door")


def policy_of(**camera: Any) -> Policy:
    return Policy.model_validate(
        {
            "models": {"people": {"file": "people.onnx", "thresholds": {"iou": 0.6}}},
            "sources": {
                "door": {"kind": "synthetic", "model": "people", **camera},
                "board": {"kind": "system"},
            },
        }
    )


def explaining_of(
    policy: Policy,
    *,
    clock: FakeClock,
    recollection: Recollection | None = None,
    flow: MailboxStatistics | None = None,
    beneath: ThresholdPolicy | None = None,
) -> Explaining:
    return Explaining(
        policy=policy,
        beneath=lambda _model: beneath,
        flow=lambda: {} if flow is None else {DOOR: flow},
        recollection=recollection or Recollection(),
        clock=clock,
    )


def asked(explaining: Explaining, source: object = "door") -> dict[str, Any]:
    answer = asyncio.run(_asked(explaining, source))
    json.dumps(answer)
    return answer


async def _asked(explaining: Explaining, source: object) -> dict[str, Any]:
    return dict(await explaining({"source": source}))


def people(*confidences: float) -> Considered:
    count = len(confidences)
    return Considered(
        boxes=np.zeros((count, 4), np.float32),
        confidence=np.array(confidences, np.float32),
        class_id=np.zeros(count, np.intp),
        known_from=0.1,
        frame=(64, 48),
        corner=(0, 0),
        gain=(1.0, 1.0),
        suppresses=True,
    )


def test_counts_are_told_for_the_minute_and_the_hour() -> None:
    clock = FakeClock()
    explaining = explaining_of(policy_of(), clock=clock)
    for _ in range(3):
        explaining.note(DOOR, Fates(under_threshold=2, suppressed=5, reported=1))
    clock.advance(120)
    explaining.note(DOOR, Fates(reported=4))
    told = asked(explaining)
    assert (told["minute"]["frames"], told["minute"]["candidates"]) == (1, 4)
    assert (told["hour"]["frames"], told["hour"]["candidates"]) == (4, 28)
    assert told["hour"]["fates"]["suppressed"] == 15
    assert sum(told["hour"]["fates"].values()) == told["hour"]["candidates"]


def test_each_threshold_says_where_it_comes_from() -> None:
    policy = policy_of(thresholds={"classes": {"person": 0.5, "cat": "off"}})
    explaining = explaining_of(policy, clock=FakeClock(), beneath=ThresholdPolicy(confidence=0.3))
    assert asked(explaining)["thresholds"] == {
        "confidence": {"value": 0.3, "from": "model package"},
        "iou": {"value": 0.6, "from": "model"},
        "max_objects": {"value": 300, "from": "default"},
        "min_side_px": {"value": 0.0, "from": "default"},
        "classes.person": {"value": 0.5, "from": "source"},
        "classes.cat": {"value": "off", "from": "source"},
    }


def test_a_confidence_takes_back_what_was_said_of_classes_beneath_it() -> None:
    policy = policy_of(thresholds={"confidence": 0.4})
    beneath = ThresholdPolicy(classes={"person": 0.9})
    told = asked(explaining_of(policy, clock=FakeClock(), beneath=beneath))["thresholds"]
    assert told["confidence"] == {"value": 0.4, "from": "source"}
    assert "classes.person" not in told


def test_near_misses_are_told_class_by_class() -> None:
    clock, recollection = FakeClock(), Recollection()
    explaining = explaining_of(
        policy_of(thresholds={"classes": {"person": 0.5}}), clock=clock, recollection=recollection
    )
    now = clock.now()
    recollection.remember(frame(0, people(0.9, 0.44, 0.3)), now)
    recollection.remember(frame(0, people(0.8, 0.46)), now)
    explaining.note(DOOR, Fates(under_threshold=3, reported=2))
    told = asked(explaining)
    assert told["classes"] == {"person": {"candidates": 5, "under": 3, "limit": 0.5, "median": 0.44}}
    (remark,) = told["remarks"]
    assert remark == (
        "60 % of the candidates of class person were under 0.5 (stated for the source); "
        "the median of those was 0.44."
    )


@pytest.mark.parametrize(
    ("fates", "words"),
    [
        (Fates(too_small=5, reported=5), "50 % of the candidates had a side under 20 px"),
        (Fates(suppressed=9, reported=1), "overlapped a stronger one of their class by more than 0.6"),
        (Fates(surplus=2, reported=1), "had 300 objects already"),
        (Fates(excluded=1, reported=1), "stood in a zone that leaves them out"),
        (Fates(unconfirmed=1, reported=1), "a track that was too young"),
        (Fates(), "came near any threshold"),
    ],
)
def test_a_large_share_gets_a_sentence(fates: Fates, words: str) -> None:
    clock = FakeClock()
    explaining = explaining_of(policy_of(thresholds={"min_side_px": 20}), clock=clock)
    explaining.note(DOOR, fates)
    (remark,) = asked(explaining)["remarks"]
    assert words in remark


def test_frames_that_were_dropped_and_a_silent_camera_are_told_of() -> None:
    flow = MailboxStatistics(offered=100, taken=60, held=0, dropped={"stale": 35, "replaced": 5})
    told = asked(explaining_of(policy_of(), clock=FakeClock(), flow=flow))
    assert told["frames"] == {"offered": 100, "inferred": 60, "dropped": {"stale": 35, "replaced": 5}}
    silent, dropped = told["remarks"]
    assert "No frame went through a model" in silent
    assert dropped.startswith("35 % of all frames were dropped: they had waited longer")


@pytest.mark.parametrize("name", ["yard", "board", 7, None, ["door"]])
def test_what_is_no_camera_is_refused(name: object) -> None:
    with pytest.raises(RefusedError, match="there are door") as refused:
        asked(explaining_of(policy_of(), clock=FakeClock()), name)
    assert (refused.value.code, refused.value.path) == (Code.SCHEMA, "/args/source")


def test_a_camera_that_is_no_more_is_forgotten() -> None:
    clock = FakeClock()
    explaining = explaining_of(policy_of(), clock=clock)
    explaining.note(DOOR, Fates(reported=1))
    explaining.adopt(Policy())
    explaining.adopt(policy_of())
    assert asked(explaining)["hour"]["frames"] == 0
