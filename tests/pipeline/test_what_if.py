"""The answer of `what-if`: what a patched policy would have made of what was seen."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import numpy as np
import pytest

from agent.adapters.cel import CelRuleCompiler
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.problems import FaultyDocumentError, Problem
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.considered import Considered
from agent.domain.errors import Code, RefusedError, TransientError
from agent.domain.ids import SourceName
from agent.domain.reading import Reading
from agent.pipeline.recollection import Recollection
from agent.pipeline.results import SensorReadings
from agent.pipeline.what_if import WhatIf
from tests.fakes.clock import FakeClock
from tests.fakes.models import facts
from tests.pipeline.test_recollection import frame

DOOR, YARD, MOTOR = SourceName("door"), SourceName("yard"), SourceName("motor")
PEOPLE = facts()


def policy_of(**more: Any) -> Policy:
    return Policy.model_validate(
        {
            "models": {"people": {"file": "people.onnx"}},
            "sources": {
                "door": {"kind": "synthetic", "model": "people"},
                "yard": {"kind": "synthetic", "model": "people"},
                "motor": {"kind": "vibration"},
            },
            **more,
        }
    )


class Node:
    """A node that has seen something, and what it answers."""

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        beneath: ThresholdPolicy | None = None,
        check: Callable[[PolicyDocument], None] = lambda _document: None,
        budget_s: float = 60.0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = FakeClock()
        self.recollection = Recollection()
        self.what_if = WhatIf(
            policy=policy or policy_of(),
            beneath=lambda _model: beneath,
            recollection=self.recollection,
            compiler=CelRuleCompiler(),
            check=check,
            give_way=lambda: None,
            clock=self.clock,
            budget_s=budget_s,
            timer=timer,
        )

    def see(self, *confidences: float, source: SourceName = DOOR, known_from: float = 0.1) -> None:
        """One frame with people apart from one another, a tenth of a second after the last."""
        self.clock.advance(0.1)
        count = len(confidences)
        corners = np.arange(count, dtype=np.float32)[:, None] * 50
        near = Considered(
            boxes=np.hstack([corners, corners, corners + 40, corners + 40]),
            confidence=np.array(confidences, np.float32),
            class_id=np.zeros(count, np.intp),
            known_from=known_from,
            frame=(640, 480),
            corner=(0, 0),
            gain=(1.0, 1.0),
            suppresses=True,
        )
        self.recollection.remember(frame(0, near, source=source, model=PEOPLE), self.clock.now())

    def ask(self, patch: Any, minutes: float = 10.0) -> dict[str, Any]:
        async def asked() -> dict[str, Any]:
            return dict(await self.what_if({"patch": patch, "minutes": minutes}))

        answer = asyncio.run(asked())
        json.dumps(answer)
        return answer


def confidence(value: float, source: str = "door") -> dict[str, Any]:
    return {"sources": {source: {"thresholds": {"confidence": value}}}}


def test_a_threshold_changes_what_is_counted_of_its_camera_alone() -> None:
    node = Node()
    for _ in range(5):
        node.see(0.9, 0.5, 0.3)
        node.see(0.4, source=YARD)
    told = node.ask(confidence(0.45))
    assert told["cameras"] == {
        "door": {
            "frames": 5,
            "frames_with_objects": {"before": 5, "after": 5},
            "objects": {"person": {"before": 15, "after": 10}},
        },
        "yard": {
            "frames": 5,
            "frames_with_objects": {"before": 5, "after": 5},
            "objects": {"person": {"before": 5, "after": 5}},
        },
    }
    assert (told["ignored"], told["notes"]) == ([], [])
    lower = node.ask(confidence(0.2, "yard"))
    assert lower["cameras"]["yard"]["objects"] == {"person": {"before": 5, "after": 5}}


def test_candidates_below_the_threshold_in_force_may_come_to_count() -> None:
    node = Node()
    node.see(0.9, 0.15)
    told = node.ask(confidence(0.1))
    assert told["cameras"]["door"]["objects"] == {"person": {"before": 1, "after": 2}}
    assert told["notes"] == ["yard: no frame of it was seen in this time."]


def test_what_was_not_kept_is_told() -> None:
    node = Node()
    node.see(0.9, 0.22, known_from=0.21)
    node.see(0.9)
    note, _ = node.ask(confidence(0.15))["notes"]
    assert note.startswith("door: in 1 of 2 frames the weakest candidates")


def test_thresholds_of_a_models_package_lie_beneath_both() -> None:
    node = Node(beneath=ThresholdPolicy(confidence=0.6))
    node.see(0.9, 0.5)
    told = node.ask({"models": {"people": {"thresholds": {"iou": 0.3}}}})
    assert told["cameras"]["door"]["objects"] == {"person": {"before": 1, "after": 1}}


def test_a_rule_that_does_not_exist_yet_tells_when_its_events_would_have_begun() -> None:
    node = Node()
    begins = []
    for round_ in range(3):
        begins.append(node.clock.now().wall_ns // 10**9)
        for _ in range(20):
            node.see(0.9, 0.8)
        for _ in range(20):
            node.see(*([0.9] if round_ else []))
    told = node.ask({"rules": {"crowd": {"when": 'count("person", source="door") >= 2', "for_s": 1}}})
    assert told["rules"]["crowd"]["before"] is None
    after = told["rules"]["crowd"]["after"]
    assert after["events"] == 3
    assert len(after["began"]) == 3
    assert all(moment.endswith("Z") for moment in after["began"])


def test_a_threshold_changes_the_events_of_a_rule() -> None:
    rules = {"crowd": {"when": 'count("person", source="door") >= 2'}}
    node = Node(policy_of(rules=rules))
    for _ in range(4):
        node.see(0.9, 0.4)
        node.see(0.9)
        node.clock.advance(1)
    told = node.ask(confidence(0.5))["rules"]["crowd"]
    assert (told["before"]["events"], told["after"]["events"]) == (4, 0)
    assert node.ask({"rules": {"crowd": None}})["rules"]["crowd"]["after"] is None


def test_many_rules_tell_fewer_moments_each() -> None:
    node = Node()
    for _ in range(30):
        node.see(0.9)
        node.see()
        node.clock.advance(1)
    rule = {"when": 'count("person", source="door") >= 1'}
    alone = node.ask({"rules": {"one": rule}})["rules"]["one"]["after"]
    assert (alone["events"], len(alone["began"])) == (30, 20)
    many = node.ask({"rules": {f"rule-{number}": rule for number in range(100)}})["rules"]
    assert [(each["after"]["events"], len(each["after"]["began"])) for each in many.values()] == [
        (30, 4)
    ] * 100


def test_a_rule_in_force_that_cannot_serve_does_not_stand_in_the_way() -> None:
    node = Node(policy_of(rules={"odd": {"when": "no_such_thing(1)"}}))
    node.see(0.9)
    told = node.ask({"rules": {"odd": {"when": 'count("person", source="door") >= 1'}}})
    assert told["rules"]["odd"]["before"] is None
    assert told["rules"]["odd"]["after"]["events"] == 1


def test_readings_are_replayed_too() -> None:
    node = Node()
    for value in (1.0, 9.0, 1.0, 9.0):
        node.clock.advance(1)
        now = node.clock.now()
        node.recollection.remember(SensorReadings(MOTOR, (Reading("rms", value, "g", now),)), now)
    told = node.ask({"rules": {"shake": {"when": 'reading("motor/rms") > 5.0'}}})
    assert told["rules"]["shake"]["after"]["events"] == 2


def test_time_passes_between_and_after_what_was_seen() -> None:
    node = Node()
    node.see(0.9)
    node.clock.advance(20)
    told = node.ask({"rules": {"long": {"when": 'count("person", source="door") >= 1', "for_s": 15}}})
    assert told["rules"]["long"]["after"]["events"] == 1


def test_what_no_trial_can_judge_is_named() -> None:
    node = Node()
    node.see(0.9)
    patch = {
        "sources": {
            "door": {"fps": 5, "thresholds": {"iou": 0.3}},
            "gate": {"kind": "synthetic", "model": "people"},
        },
        "models": {"people": {"file": "other.onnx"}},
        "publish": {"window": 5},
    }
    told = node.ask(patch)
    assert told["ignored"] == [
        "/models/people/file",
        "/publish",
        "/sources/door/fps",
        "/sources/gate",
    ]
    assert "gate: no frame of it was seen in this time." in told["notes"]


@pytest.mark.parametrize(
    "patch",
    [
        {"sources": {"door": None}},
        {"sources": {"door": {"enabled": False}}},
        {"sources": {"door": {"model": None}}},
        {"sources": {"door": None, "yard": None}, "models": {"people": None}},
    ],
)
def test_a_camera_that_would_not_look_any_more_is_judged(patch: Any) -> None:
    node = Node()
    node.see(0.9)
    node.see(0.9, source=YARD)
    told = node.ask(patch)
    assert told["cameras"]["door"]["objects"] == {"person": {"before": 1, "after": 0}}
    assert told["ignored"] == []


def test_a_camera_that_would_look_otherwise_or_for_the_first_time_is_not_judged() -> None:
    off = {"kind": "synthetic", "model": "people", "enabled": False}
    node = Node(
        policy_of(sources={"door": off, "yard": {"kind": "synthetic"}, "motor": {"kind": "vibration"}})
    )
    told = node.ask(
        {
            "models": {"more": {"file": "more.onnx"}},
            "sources": {"door": {"enabled": True}, "yard": {"model": "more"}, "motor": {"enabled": False}},
        }
    )
    assert told["ignored"] == [
        "/models/more",
        "/sources/door/enabled",
        "/sources/motor/enabled",
        "/sources/yard/model",
    ]


def test_only_the_minutes_asked_for_are_judged() -> None:
    node = Node()
    node.see(0.9)
    node.clock.advance(120)
    node.see(0.9)
    assert node.ask({}, minutes=1)["cameras"]["door"]["frames"] == 1
    assert node.ask({}, minutes=3)["cameras"]["door"]["frames"] == 2


def test_where_nothing_was_seen_nothing_is_claimed() -> None:
    told = Node().ask(confidence(0.9))
    assert told["cameras"] == {}
    assert told["notes"][0].startswith("Nothing was seen")


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (confidence(7), "/policy/sources/door/thresholds/confidence"),
        ({"sources": {"door": {"model": "none"}}}, "/policy/sources/door/model"),
        ({"sources": {"door": {"colour": 1}}}, "/policy/sources/door/colour"),
        ([1], "/policy"),
    ],
)
def test_a_patch_that_makes_no_policy_is_refused_as_the_policy_would_be(patch: Any, path: str) -> None:
    with pytest.raises(FaultyDocumentError) as refused:
        Node().ask(patch)
    assert (refused.value.code, refused.value.path) == (Code.SCHEMA, path)


def test_a_rule_that_does_not_compile_is_refused_by_name() -> None:
    with pytest.raises(RefusedError) as refused:
        Node().ask({"rules": {"odd": {"when": "count(1) + ", "severity": "info"}}})
    assert refused.value.path == "/policy/rules/odd/when"


def test_what_settings_do_not_permit_is_refused() -> None:
    def check(document: PolicyDocument) -> None:
        if document.policy.models["people"].file != "people.onnx":
            raise FaultyDocumentError([Problem(message="no", path=("policy", "models"), code=Code.AUTH)])

    node = Node(check=check)
    assert node.ask({})["cameras"] == {}
    with pytest.raises(RefusedError) as refused:
        node.ask({"models": {"people": {"file": "secret.onnx"}}})
    assert refused.value.code == Code.AUTH


def test_a_trial_without_time_for_anything_fails() -> None:
    node = Node(budget_s=0.0)
    node.see(0.9)
    with pytest.raises(TransientError, match="nothing of 1 frames") as late:
        node.ask({})
    assert late.value.code == Code.TIMEOUT


def hundred_a_second() -> Callable[[], float]:
    """A timer by which a trial judges about a hundred entries a second, whatever the machine does."""
    hundredths = count()
    return lambda: next(hundredths) / 100


def test_of_more_than_can_be_judged_in_time_the_newest_is_told_and_how_much_that_is() -> None:
    node = Node(
        policy_of(rules={"ill": {"when": 'health("door") == "failed"'}}),
        budget_s=2.0,
        timer=hundred_a_second(),
    )
    node.recollection.remember_condition(DOOR, "failed", node.clock.now())
    for _ in range(1000):
        node.see(0.9)
    told = node.ask({})
    frames = told["cameras"]["door"]["frames"]
    assert 64 < frames < 200
    assert told["cameras"]["door"]["objects"] == {"person": {"before": frames, "after": frames}}
    assert told["rules"]["ill"]["after"]["events"] == 1
    began, until = (datetime.fromisoformat(told[key]) for key in ("from", "to"))
    assert until.timestamp() == pytest.approx(node.clock.now().wall_ns / 1e9, abs=0.01)
    judged_s = (until - began).total_seconds()
    assert judged_s == pytest.approx((frames - 1) / 10, abs=0.01)
    assert (
        f"Only the last {judged_s:.0f} of 100 s were judged: the node had no time for more." in told["notes"]
    )


def test_what_can_be_judged_in_time_is_judged_as_a_whole() -> None:
    node = Node(budget_s=20.0, timer=hundred_a_second())
    for _ in range(1000):
        node.see(0.9)
    told = node.ask({})
    assert told["cameras"]["door"]["frames"] == 1000
    assert told["notes"] == ["yard: no frame of it was seen in this time."]


def test_one_trial_at_a_time() -> None:
    async def both() -> None:
        gate, reached = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def check(_document: PolicyDocument) -> None:
            loop.call_soon_threadsafe(reached.set)
            assert gate.wait(timeout=10)

        node = Node(check=check)
        first = loop.create_task(node.what_if({"patch": {}, "minutes": 1}))
        await asyncio.wait_for(reached.wait(), timeout=10)
        with pytest.raises(TransientError) as busy:
            await node.what_if({"patch": {}, "minutes": 1})
        assert busy.value.code == Code.BUSY
        gate.set()
        await first

    asyncio.run(both())


def test_patches_are_made_to_the_policy_in_force() -> None:
    node = Node()
    node.see(0.9, 0.4)
    node.what_if.adopt(
        policy_of(
            sources={"door": {"kind": "synthetic", "model": "people", "thresholds": {"confidence": 0.5}}}
        )
    )
    told = node.ask({"sources": {"door": {"thresholds": {"confidence": None}}}})
    assert told["cameras"]["door"]["objects"] == {"person": {"before": 1, "after": 2}}
