"""`explain` and `what-if` on a real model and a real clip: exact, not roughly right."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pytest

from agent.adapters.cel import CelRuleCompiler
from agent.contract.policy import Policy
from agent.domain.fates import Fates
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.rules.machine import Machine, Timing
from agent.domain.thresholds import Thresholds
from agent.pipeline.explaining import Explaining
from agent.pipeline.recollection import Recollection
from agent.pipeline.results import FrameResult
from agent.pipeline.seeing import Seeing
from agent.pipeline.what_if import WhatIf, patched
from agent.ports import Look
from agent.vision.letterbox import Letterbox, Size
from agent.workbench.opening import open_detector
from tests.fakes.clock import FakeClock
from tests.slow_fates import slow_fates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.domain.detections import Detections
    from agent.domain.rules.machine import Machine, Timing
from agent.domain.scene import Scene

DOOR: Final = SourceName("door")
INPUT: Final = Size(640, 640)
EVERY: Final = 25


class Footage:
    """Every so many pictures of the clip, and what the model gave for each, once for all tests."""

    def __init__(self, detector: OnnxDetector, pictures: list[NDArray[np.uint8]]) -> None:
        self.detector = detector
        self.pictures = pictures
        self.letterboxes = [Letterbox.fit(Size(*pixels.shape[:2]), INPUT) for pixels in pictures]
        look_at = (detector.examine(Look(pixels, Thresholds()), size=INPUT)[0] for pixels in pictures)
        self.tables = [table for outputs in look_at for table in outputs.values()]

    def found(self, policy: Policy) -> list[Detections]:
        thresholds = policy.thresholds_of(DOOR)
        return [
            self.detector.head.decode([table], letterbox, thresholds)
            for table, letterbox in zip(self.tables, self.letterboxes, strict=True)
        ]

    def results(self, policy: Policy, clock: FakeClock) -> Iterator[FrameResult]:
        """As a node would have them, ten a second."""
        for number, detections in enumerate(self.found(policy)):
            clock.advance(0.1)
            yield FrameResult(
                source=DOOR,
                number=number,
                width_px=self.letterboxes[number].frame.width_px,
                height_px=self.letterboxes[number].frame.height_px,
                captured=clock.now(),
                detections=detections,
                model=self.detector.facts,
                lane=0,
                timing=InferenceTiming(0, 0, 0, 0),
            )

    def seen(self, policy: Policy) -> list[Scene]:
        """As a node that runs this policy from the first picture on."""
        seeing = Seeing(policy)
        return [seeing.see(result).scene for result in self.results(policy, FakeClock())]


@pytest.fixture(scope="module")
def footage(testdata: Path) -> Footage:
    capture = cv2.VideoCapture(str(testdata / "clips/vtest.avi"))
    pictures = []
    number = 0
    while capture.grab():
        if number % EVERY == 0:
            pictures.append(np.asarray(capture.retrieve()[1], np.uint8))
        number += 1
    capture.release()
    return Footage(open_detector(testdata / "models/yolo11n-person.onnx"), pictures)


def policy_of(**thresholds: Any) -> Policy:
    return Policy.model_validate(
        {
            "models": {"people": {"file": "people.onnx"}},
            "sources": {"door": {"kind": "synthetic", "model": "people", "thresholds": thresholds}},
            "rules": {"two": {"when": 'count("person", source="door") >= 2'}},
        }
    )


@pytest.mark.testdata
@pytest.mark.parametrize(
    "thresholds",
    [
        {},
        {"confidence": 0.5, "iou": 0.3},
        {"min_side_px": 60, "max_objects": 2},
        {"classes": {"person": "off"}},
    ],
)
def test_explain_counts_what_a_slow_recount_of_the_models_output_counts(
    footage: Footage, thresholds: dict[str, Any]
) -> None:
    policy, clock = policy_of(**thresholds), FakeClock()
    in_force = policy.thresholds_of(DOOR)
    recollection = Recollection()
    explaining = Explaining(
        policy=policy, beneath=lambda _model: None, flow=dict, recollection=recollection, clock=clock
    )
    wanted = [0] * len(Fates._fields)
    names = footage.detector.facts.class_names
    for result, table, letterbox in zip(
        footage.results(policy, clock), footage.tables, footage.letterboxes, strict=True
    ):
        explaining.note(DOOR, result.detections.fates)
        fates = slow_fates(table, in_force, class_names=names, letterbox=letterbox)
        wanted = [sum(pair) for pair in zip(wanted, fates, strict=True)]

    async def asked() -> dict[str, Any]:
        return dict(await explaining({"source": "door"}))

    told = asyncio.run(asked())["minute"]
    assert told["frames"] == len(footage.pictures)
    assert told["fates"] == Fates(*wanted)._asdict()
    assert told["candidates"] == sum(wanted) > 100


LEFT_HALF: Final = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


@pytest.mark.testdata
@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"confidence": 0.5}},
        {"thresholds": {"confidence": 0.12}},
        {"thresholds": {"iou": 0.9}},
        {"thresholds": {"iou": 0.2, "min_side_px": 50}},
        {"thresholds": {"max_objects": 1}},
        {"thresholds": {"classes": {"person": "off"}}},
        {"zones": {"left": {"polygon": LEFT_HALF, "mode": "exclude"}}, "thresholds": {"confidence": 0.2}},
        {"tracking": {}, "thresholds": {"confidence": 0.15}},
    ],
    ids=str,
)
def test_what_if_foretells_exactly_what_the_patched_policy_then_finds(
    footage: Footage, change: dict[str, Any]
) -> None:
    policy, clock = policy_of(), FakeClock()
    patch = {"sources": {"door": change}}
    recollection = Recollection()
    what_if = WhatIf(
        policy=policy,
        beneath=lambda _model: None,
        recollection=recollection,
        compiler=CelRuleCompiler(),
        check=lambda _document: None,
        give_way=lambda: None,
        clock=clock,
    )
    for result in footage.results(policy, clock):
        recollection.remember(result, result.captured)

    async def asked() -> dict[str, Any]:
        return dict(await what_if({"patch": patch, "minutes": 10}))

    told = asyncio.run(asked())
    before, after = (footage.seen(each) for each in (policy, patched(policy, patch).policy))
    counts = [
        Counter(sighting.class_name for scene in scenes for sighting in scene.objects)
        for scenes in (before, after)
    ]
    assert counts[0] != counts[1]
    assert told["cameras"]["door"] == {
        "frames": len(before),
        "frames_with_objects": {
            "before": sum(bool(scene.objects) for scene in before),
            "after": sum(bool(scene.objects) for scene in after),
        },
        "objects": {
            name: {"before": counts[0][name], "after": counts[1][name]}
            for name in sorted(counts[0] | counts[1])
        },
    }
    assert told["rules"]["two"]["before"]["events"] == begins(before)
    assert told["rules"]["two"]["after"]["events"] == begins(after)
    assert (told["ignored"], told["notes"]) == ([], [])


def begins(scenes: list[Scene]) -> int:
    """How often a rule for two people would tell of them."""
    machine = Machine(Timing())
    told = []
    for scene in scenes:
        holds = len(scene.objects) >= 2
        told.append(machine.step(scene.at.monotonic_ns, holds=holds, over=not holds))
    return told.count("begin")


@pytest.mark.testdata
def test_candidates_that_are_told_of_change_no_detection(footage: Footage) -> None:
    told = policy_of().thresholds_of(DOOR)
    for pixels in footage.pictures[::16]:
        looks = [Look(pixels, told), Look(pixels, replace(told, floor=None))]
        with_floor, without = (footage.detector.detect([look])[0][0] for look in looks)
        assert with_floor.boxes.tobytes() == without.boxes.tobytes()
        assert with_floor.confidence.tobytes() == without.confidence.tobytes()
