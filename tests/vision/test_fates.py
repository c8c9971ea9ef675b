"""Each candidate has one fate, and what was considered once can be judged again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeding
from agent.vision.heads import Head
from agent.vision.heads.classify import ClassifyHead
from agent.vision.heads.end2end import EndToEndHead
from agent.vision.heads.judging import Judge
from agent.vision.heads.queries import QueryHead, from_logits
from agent.vision.heads.sifting import MOST_WEAK, sift
from agent.vision.heads.yolov5 import YoloV5Head
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.heads.yolov8_cut import YoloV8CutHead
from agent.vision.letterbox import Letterbox, Size
from tests.slow_fates import slow_fates

CLASSES: Final = {0: "a", 1: "b", 2: "c"}
FLOOR: Final = 0.1
PLACED: Final = Letterbox.fit(Size(720, 1280), Size(96, 160))
ANCHORS: Final = 12 * 20 + 6 * 10 + 3 * 5


@st.composite
def rules(draw: st.DrawFn) -> Thresholds:
    limit = st.sampled_from([0.12, 0.25, 0.5, 0.8])
    return Thresholds(
        confidence=draw(limit),
        iou=draw(st.sampled_from([0.2, 0.45, 0.9])),
        max_objects=draw(st.sampled_from([1, 4, 300])),
        min_side_px=draw(st.sampled_from([0.0, 60.0])),
        by_class=draw(st.dictionaries(st.sampled_from("abcz"), limit | st.just(1.01), max_size=3)),
        floor=FLOOR,
    )


def outputs_of(kind: str, seed: int) -> list[NDArray[np.float32]]:
    """What a model of this family might give: few sure boxes, more unsure ones, many of nothing."""
    rng = np.random.default_rng(seed)
    sure = (rng.random((3, ANCHORS)) ** 12).astype(np.float32)
    centres = rng.random((2, ANCHORS)) * [[160], [96]]
    boxes = np.concatenate([centres, 4 + rng.random((2, ANCHORS)) * 30]).astype(np.float32)
    match kind:
        case "yolov8":
            return [np.concatenate([boxes, sure])]
        case "cut":
            logits = np.log(np.clip(sure, 1e-6, 1 - 1e-6) / (1 - np.clip(sure, 1e-6, 1 - 1e-6)))
            return [rng.normal(0, 3, (64, ANCHORS)).astype(np.float32), logits.astype(np.float32)]
        case "yolov5":
            scores = rng.random((3, ANCHORS), np.float32)
            return [np.concatenate([boxes, sure.max(axis=0)[None], scores]).T]
        case "end2end":
            near, far = boxes[:2] - boxes[2:] / 2, boxes[:2] + boxes[2:] / 2
            classes = rng.integers(0, 3, (1, ANCHORS))
            return [np.concatenate([near, far, sure[:1], classes]).T.astype(np.float32)]
        case "queries":
            fractions = (boxes / np.array([[160], [96], [160], [96]])).astype(np.float32)
            return [fractions.T, np.log(sure / (1 - sure + 1e-6) + 1e-9).T.astype(np.float32)]
        case _:
            return [(sure[:, 0] / sure[:, 0].sum()).astype(np.float32)]


def head_of(kind: str) -> Head:
    match kind:
        case "yolov8":
            return YoloV8Head(class_names=CLASSES, keypoint_shape=None, output_name="o")
        case "cut":
            return YoloV8CutHead(class_names=CLASSES, keypoint_shape=None, strides=(8, 16, 32), bins=16)
        case "yolov5":
            return YoloV5Head(class_names=CLASSES, output_name="o", feeding=Feeding())
        case "end2end":
            return EndToEndHead(class_names=CLASSES, keypoint_shape=None, output_name="o")
        case "queries":
            return QueryHead(
                class_names=CLASSES,
                output_names=("boxes", "logits"),
                feeding=Feeding(),
                read=lambda outputs, letterbox, least: from_logits(outputs[0], outputs[1], letterbox, least),
                at_most=20,
            )
        case _:
            return ClassifyHead(class_names=CLASSES, output_name="o", feeding=Feeding(), logits=False)


KINDS: Final = ("yolov8", "cut", "yolov5", "end2end", "queries", "classify")


def least_of(thresholds: Thresholds) -> float:
    known = [limit for name, limit in thresholds.by_class.items() if name in CLASSES.values()]
    return min([thresholds.confidence, *known])


def same(one: Detections, other: Detections) -> bool:
    return (
        one.boxes.tobytes() == other.boxes.tobytes()
        and one.confidence.tobytes() == other.confidence.tobytes()
        and one.class_id.tolist() == other.class_id.tolist()
    )


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), thresholds=rules())
def test_fates_are_those_of_a_slow_recount(seed: int, thresholds: Thresholds) -> None:
    (table,) = outputs_of("yolov8", seed)
    found = head_of("yolov8").decode([table], PLACED, thresholds)
    wanted = slow_fates(table, thresholds, class_names=CLASSES, letterbox=PLACED)
    # The weakest of many are counted without a look at their class, be it switched off or not.
    assert found.fates.class_off <= wanted.class_off
    assert sum(found.fates[:2]) == sum(wanted[:2])
    assert found.fates[2:] == wanted[2:]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), thresholds=rules())
def test_candidates_that_are_told_of_change_nothing_that_counts(
    kind: str, seed: int, thresholds: Thresholds
) -> None:
    outputs, head = outputs_of(kind, seed), head_of(kind)
    told = head.decode(outputs, PLACED, thresholds)
    untold = head.decode(outputs, PLACED, replace(thresholds, floor=None))
    assert same(told, untold)
    assert (told.candidates, untold.considered) == (untold.candidates, None)
    assert told.fates[2:] == untold.fates[2:]
    assert told.fates.reported == len(told)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), before=rules(), after=rules())
def test_what_was_considered_gives_under_other_thresholds_what_the_model_would_have_given(
    kind: str, seed: int, before: Thresholds, after: Thresholds
) -> None:
    outputs, head = outputs_of(kind, seed), head_of(kind)
    considered = head.decode(outputs, PLACED, before).considered
    wanted = head.decode(outputs, PLACED, after)
    if considered is None:
        assert not wanted.fates.candidates
        return
    if considered.known_from < least_of(after):
        assert same(Judge(CLASSES).judge(considered, after), wanted)


def test_the_weakest_of_too_many_are_left_out_and_counted() -> None:
    strength = np.linspace(0.1, 0.3, 1001, dtype=np.float32)
    near = sift(strength, least=0.25, floor=0.1)
    assert near.left_out + len(near.indices) == 1000
    weak = strength[near.indices][strength[near.indices] <= 0.25]
    assert len(weak) == MOST_WEAK
    assert near.known_from < weak.min()
    assert near.indices.tolist() == sorted(near.indices.tolist())


def test_boxes_as_strong_as_the_cut_are_left_out_together() -> None:
    near = sift(np.full(500, 0.2, np.float32), least=0.25, floor=0.1)
    assert (len(near.indices), near.left_out) == (0, 500)
    assert near.known_from == pytest.approx(0.2)
