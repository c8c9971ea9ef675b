from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.heads import Evidence, Output
from agent.vision.heads.grid import cell_count, strides_for
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.heads.yolov8_cut import YoloV8CutHead, fit
from agent.vision.letterbox import Letterbox, Size

STRIDES: Final = (8, 16, 32)
BINS: Final = 16
INPUT: Final = Size(96, 160)
ANCHORS: Final = cell_count(INPUT, STRIDES)

Shape = tuple[int, int] | None


def heads(classes: int, shape: Shape) -> tuple[YoloV8Head, YoloV8CutHead]:
    names = {index: f"c{index}" for index in range(classes)}
    return (
        YoloV8Head(class_names=names, keypoint_shape=shape, output_name="output0"),
        YoloV8CutHead(class_names=names, keypoint_shape=shape, strides=STRIDES, bins=BINS),
    )


def logits(seed: int, classes: int, shape: Shape) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    rows = [(4 * BINS, 3.0, 0.0), (classes, 2.0, -3.0)]
    if shape is not None:
        rows.append((shape[0] * shape[1], 2.0, 0.0))
    return [rng.normal(mean, spread, (count, ANCHORS)).astype(np.float32) for count, spread, mean in rows]


def exported(outputs: list[NDArray[np.float32]], shape: Shape) -> NDArray[np.float32]:
    """The family's table, anchor by anchor and in double precision, as its description reads."""
    columns = []
    places = [
        (column + 0.5, row + 0.5, stride)
        for stride in STRIDES
        for row in range(INPUT.height_px // stride)
        for column in range(INPUT.width_px // stride)
    ]
    for anchor, (x, y, stride) in enumerate(places):
        boxes, classes, *points = (output[:, anchor].astype(np.float64) for output in outputs)
        left, top, right, bottom = (
            sum(k * w for k, w in enumerate(np.exp(edge))) / np.exp(edge).sum()
            for edge in boxes.reshape(4, -1)
        )
        column = [x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom]
        column = [value * stride for value in column] + list(1 / (1 + np.exp(-classes)))
        if points and shape is not None:
            for point in points[0].reshape(shape):
                column += [(point[0] * 2 + x - 0.5) * stride, (point[1] * 2 + y - 0.5) * stride]
                column += list(1 / (1 + np.exp(-point[2:])))
        columns.append(column)
    return np.array(columns).T.astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    classes=st.sampled_from([1, 2, 5]),
    shape=st.sampled_from([None, (5, 3), (2, 2)]),
    confidence=st.sampled_from([0.0, 0.05, 0.25, 0.9]),
    by_class=st.dictionaries(st.sampled_from(["c0", "c1", "c4"]), st.sampled_from([0.1, 0.7, 1.01])),
)
def test_decode_finds_what_the_exported_table_holds(
    seed: int, classes: int, shape: Shape, confidence: float, by_class: dict[str, float]
) -> None:
    outputs = logits(seed, classes, shape)
    letterbox = Letterbox.fit(Size(720, 1280), INPUT)
    limits = Thresholds(confidence=confidence, by_class=by_class, max_objects=40)
    whole, cut = heads(classes, shape)
    wanted = whole.decode([exported(outputs, shape)], letterbox, limits)
    found = cut.decode(outputs, letterbox, limits)
    assert found.class_id.tolist() == wanted.class_id.tolist()
    assert found.candidates == wanted.candidates
    np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.confidence, wanted.confidence, rtol=0, atol=1e-6)
    assert (found.keypoints is None) == (shape is None)
    if found.keypoints is not None and wanted.keypoints is not None:
        np.testing.assert_allclose(found.keypoints, wanted.keypoints, rtol=0, atol=1e-3)


def test_table_gives_the_columns_asked_for() -> None:
    outputs = logits(1, 3, (2, 3))
    _, cut = heads(3, (2, 3))
    chosen = np.array([0, ANCHORS - 1, 7, 300])
    np.testing.assert_allclose(
        cut.table(outputs, chosen, INPUT), exported(outputs, (2, 3))[:, chosen], rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("confidence", [1e-9, 1e-7, 0.2, 0.5, 0.999, 0.9999999])
def test_a_confidence_must_exceed_its_threshold(confidence: float) -> None:
    """Also where the logit of the threshold and the sigmoid of the logit round apart."""
    wide = np.linspace(-25, 25, ANCHORS, dtype=np.float32)[None]
    _, cut = heads(1, None)
    limits = Thresholds(confidence=confidence, iou=1.0, max_objects=ANCHORS)
    outputs = [np.zeros((4 * BINS, ANCHORS), np.float32), wide]
    found = cut.decode(outputs, Letterbox.fit(INPUT, INPUT), limits)
    sure = 1 / (1 + np.exp(-wide[0]))
    assert len(found) == np.count_nonzero(sure > np.float32(confidence))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [1, 3])
def test_logits_that_are_none_are_an_error(value: float, classes: int) -> None:
    outputs = logits(0, classes, None)
    outputs[1][0, 5] = value
    with pytest.raises(TransientError, match="class logit") as caught:
        heads(classes, None)[1].decode(outputs, Letterbox.fit(INPUT, INPUT), Thresholds())
    assert caught.value.code == Code.MODEL


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("output", [0, 2])
def test_boxes_and_keypoints_that_are_none_are_an_error(value: float, output: int) -> None:
    outputs = logits(0, 1, (1, 2))
    outputs[1][0, 5] = 9
    outputs[output][1, 5] = value
    with pytest.raises(TransientError, match="NaN or infinity"):
        heads(1, (1, 2))[1].decode(outputs, Letterbox.fit(INPUT, INPUT), Thresholds())


@pytest.mark.parametrize("shape", [None, (17, 3)])
def test_nothing_above_the_threshold_is_nothing_found(shape: Shape) -> None:
    outputs = logits(0, 2, shape)
    outputs[1][:] = -np.inf
    found = heads(2, shape)[1].decode(outputs, Letterbox.fit(INPUT, INPUT), Thresholds(confidence=0.0))
    assert (len(found), found.candidates) == (0, 0)
    assert (found.keypoints is None) == (shape is None)


def evidence(**changes: Any) -> Evidence:
    known: dict[str, Any] = {
        "task": "detect",
        "class_names": {0: "a", 1: "b"},
        "keypoint_shape": None,
        "end_to_end": False,
        "input_size": INPUT,
        "element": "float32",
        "input_names": ("images",),
        "outputs": (
            Output("box_logits", (1, 64, ANCHORS)),
            Output("class_logits", (1, 2, ANCHORS)),
        ),
        "said": {"nanofleet_graph": "cut", "nanofleet_head": json.dumps({"strides": STRIDES, "bins": BINS})},
    }
    return Evidence(**known | changes)


def test_fit_reads_what_the_file_says() -> None:
    head = fit(evidence())
    assert head is not None
    assert (head.task, head.class_names) == ("detect", {0: "a", 1: "b"})
    assert head.output_names == ("box_logits", "class_logits")


def test_fit_names_classes_where_the_file_does_not() -> None:
    head = fit(evidence(class_names=None))
    assert head is not None
    assert head.class_names == {0: "class-0", 1: "class-1"}


@pytest.mark.parametrize("said", [{}, {"nanofleet_graph": "exact"}])
def test_fit_leaves_other_files_alone(said: dict[str, str]) -> None:
    assert fit(evidence(said=said)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": {0: "a"}},
        {"input_size": Size(96, 96)},
        {"outputs": (Output("box_logits", (1, 64, ANCHORS)),)},
        {"outputs": ()},
        {"task": "pose", "keypoint_shape": (17, 3)},
    ],
    ids=["classes", "anchors", "no classes", "no outputs", "no keypoints"],
)
def test_fit_refuses_outputs_that_are_not_what_the_file_says(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="outputs are others"):
        fit(evidence(**changes))


@pytest.mark.parametrize(
    "head", ["", "[]", "{}", '{"strides": [], "bins": 16}', '{"strides": [0], "bins": 1}']
)
def test_fit_refuses_a_file_that_does_not_say_how_it_was_cut(head: str) -> None:
    with pytest.raises(ValueError, match="nanofleet_head"):
        fit(evidence(said={"nanofleet_graph": "cut", "nanofleet_head": head}))


@pytest.mark.parametrize(
    ("size", "anchors", "strides"),
    [
        (Size(640, 640), 8400, (8, 16, 32)),
        (Size(384, 640), 5040, (8, 16, 32)),
        (Size(640, 640), 34000, (4, 8, 16, 32)),
        (Size(640, 640), 8401, None),
    ],
)
def test_strides_are_known_by_their_anchors(
    size: Size, anchors: int, strides: tuple[int, ...] | None
) -> None:
    assert strides_for(size, anchors) == strides
