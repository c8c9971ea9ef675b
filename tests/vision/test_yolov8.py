from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.letterbox import Letterbox, Size

SAME: Final = Letterbox.fit(Size(640, 640), Size(640, 640))
"""A frame as large as the input: pixels of both agree."""

ANCHORS: Final = 50

Row = tuple[float, float, float, float, int, float]
"""Centre x, centre y, width, height, class, confidence."""


def head(classes: int, keypoint_shape: tuple[int, int] | None = None) -> YoloV8Head:
    names = {index: f"c{index}" for index in range(classes)}
    return YoloV8Head(class_names=names, keypoint_shape=keypoint_shape, output_name="output0")


def output(classes: int, rows: list[Row], points: list[list[float]] | None = None) -> NDArray[np.float32]:
    """What a model would give: the rows from anchor 7 on, in every third anchor, weak noise elsewhere."""
    width = len(points[0]) if points else 0
    table = np.full((4 + classes + width, ANCHORS), 0.01, np.float32)
    for index, (x, y, w, h, class_id, confidence) in enumerate(rows):
        anchor = 7 + 3 * index
        table[:4, anchor] = [x, y, w, h]
        table[4 + class_id, anchor] = confidence
        if points:
            table[4 + classes :, anchor] = points[index]
    return table


def decode(classes: int, rows: list[Row], **thresholds: object) -> Detections:
    return head(classes).decode([output(classes, rows)], SAME, Thresholds(**thresholds))  # type: ignore[arg-type]


def found(detections: Detections) -> list[tuple[int, float]]:
    confidence = [round(float(value), 4) for value in detections.confidence]
    return list(zip(detections.class_id.tolist(), confidence, strict=True))


A: Final[Row] = (100, 100, 40, 20, 0, 0.9)
OVER_A: Final[Row] = (101, 100, 40, 20, 0, 0.8)
FAR: Final[Row] = (400, 300, 60, 60, 0, 0.5)


@pytest.mark.parametrize("classes", [1, 2, 80])
def test_decode_gives_boxes_by_falling_confidence(classes: int) -> None:
    last = classes - 1
    result = decode(classes, [FAR, A, OVER_A, (200, 200, 10, 10, last, 0.7)])
    assert found(result) == [(0, 0.9), (last, 0.7), (0, 0.5)]
    assert result.boxes.tolist() == [[80, 90, 120, 110], [195, 195, 205, 205], [370, 270, 430, 330]]
    assert result.candidates == 4
    assert result.keypoints is None
    assert [one.dtype.name for one in (result.boxes, result.confidence, result.class_id)] == [
        "float64",
        "float32",
        "int32",
    ]


def test_decode_suppresses_within_a_class_only() -> None:
    result = decode(2, [A, (101, 100, 40, 20, 1, 0.8)])
    assert found(result) == [(0, 0.9), (1, 0.8)]


def test_decode_finds_nothing_in_noise() -> None:
    result = decode(3, [])
    assert (len(result), result.candidates, result.boxes.shape) == (0, 0, (0, 4))


@pytest.mark.parametrize(
    ("thresholds", "wanted"),
    [
        ({"confidence": 0.5}, [(0, 0.9), (1, 0.6)]),
        ({"confidence": 0.5, "by_class": {"c1": 0.7}}, [(0, 0.9)]),
        ({"confidence": 0.95, "by_class": {"c1": 0.3}}, [(1, 0.6)]),
        ({"confidence": 0.5, "by_class": {"c0": 1.01}}, [(1, 0.6)]),
        ({"confidence": 0.5, "by_class": {"nobody": 0.1}}, [(0, 0.9), (1, 0.6)]),
        ({"confidence": 0.1, "max_objects": 2}, [(0, 0.9), (1, 0.6)]),
        ({"confidence": 0.1, "min_side_px": 21}, [(2, 0.4)]),
        ({"confidence": 0.1, "iou": 1.0}, [(0, 0.9), (1, 0.6), (1, 0.5), (2, 0.4)]),
        ({"confidence": 0.9999}, []),
    ],
    ids=[
        "one for all", "a class is harder", "a class is easier", "a class is off", "no such class",
        "most", "smallest", "no suppression", "none",
    ],
)  # fmt: skip
def test_thresholds_decide_what_counts(
    thresholds: dict[str, object], wanted: list[tuple[int, float]]
) -> None:
    rows: list[Row] = [
        A,
        (300, 300, 30, 20, 1, 0.6),
        (301, 300, 30, 20, 1, 0.5),
        (500, 500, 30, 25, 2, 0.4),
    ]
    assert found(decode(3, rows, **thresholds)) == wanted


def test_confidence_must_exceed_its_threshold() -> None:
    assert not len(decode(1, [(100, 100, 10, 10, 0, 0.25)], confidence=0.25))


def test_a_box_too_small_suppresses_nothing() -> None:
    small, larger = (100.0, 100.0, 40.0, 19.0, 0, 0.9), (100.0, 100.0, 40.0, 22.0, 0, 0.8)
    assert found(decode(1, [small, larger], min_side_px=20)) == [(0, 0.8)]


def test_smallness_is_judged_in_pixels_of_the_frame() -> None:
    letterbox = Letterbox.fit(Size(1280, 1280), Size(640, 640))
    table = output(1, [(100, 100, 10, 10, 0, 0.9)])
    thresholds = [Thresholds(min_side_px=side) for side in (19.9, 20.1)]
    assert [len(head(1).decode([table], letterbox, one)) for one in thresholds] == [1, 0]


def test_equal_confidences_keep_the_order_of_anchors() -> None:
    rows: list[Row] = [(50.0 * n, 100, 10, 10, n % 2, 0.5) for n in range(1, 8)]
    assert decode(2, rows).boxes[:, 0].tolist() == [50.0 * n - 5 for n in range(1, 8)]


def test_boxes_are_clipped_to_the_frame() -> None:
    assert decode(1, [(5, 630, 40, 40, 0, 0.9)]).boxes.tolist() == [[0, 610, 25, 640]]


@pytest.mark.parametrize(("numbers", "confidence"), [(3, 0.8), (2, 1.0)])
def test_pose_maps_keypoints_as_boxes(numbers: int, confidence: float) -> None:
    letterbox = Letterbox.fit(Size(720, 1280), Size(640, 640))
    point = [110.0, 250.0, 0.8][:numbers]
    outside = [-50.0, 10.0, 1.003][:numbers]
    table = output(1, [A, FAR], [point + outside, outside + point])
    result = head(1, (2, numbers)).decode([table], letterbox, Thresholds())
    assert result.keypoints is not None
    wanted = np.array([[220, 220, confidence], [0, 0, 1]])
    np.testing.assert_allclose(result.keypoints, np.stack([wanted, wanted[::-1]]), atol=1e-6)


def test_pose_without_objects_keeps_the_number_of_keypoints() -> None:
    table = output(1, [], [[0.0] * 51])
    result = head(1, (17, 3)).decode([table], SAME, Thresholds())
    assert result.keypoints is not None
    assert result.keypoints.shape == (0, 17, 3)


@pytest.mark.parametrize("classes", [1, 2, 80])
@pytest.mark.parametrize("value", [np.nan, np.inf, 7.5])
def test_confidences_that_are_none_are_an_error(classes: int, value: float) -> None:
    table = output(classes, [A])
    table[3 + classes, 0] = value
    with pytest.raises(TransientError, match="not within") as caught:
        head(classes).decode([table], SAME, Thresholds())
    assert caught.value.code == Code.MODEL


@pytest.mark.parametrize("row", [0, 3, 4 + 2, 4 + 2 + 5])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_and_keypoints_that_are_no_numbers_are_an_error(row: int, value: float) -> None:
    table = output(2, [A], [[1.0] * 6])
    table[row, 7] = value
    with pytest.raises(TransientError, match="NaN or infinity"):
        head(2, (2, 3)).decode([table], SAME, Thresholds())


def test_what_no_threshold_passes_may_be_anything() -> None:
    table = output(1, [A])
    table[:4, 0] = np.nan
    assert len(head(1).decode([table], SAME, Thresholds())) == 1


def test_a_quantised_confidence_just_above_one_is_one() -> None:
    assert decode(1, [(100, 100, 10, 10, 0, 1.0039)]).confidence.tolist() == [1.0]


def naive(
    table: NDArray[np.float32], classes: int, letterbox: Letterbox, limits: Thresholds
) -> list[list[float]]:
    """Decodes every anchor by itself and compares every pair, as the description of the layout reads."""
    rows = []
    for anchor in range(table.shape[1]):
        x, y, w, h = table[:4, anchor]
        scores = table[4 : 4 + classes, anchor]
        class_id = int(np.argmax(scores))
        if scores[class_id] > np.float32(limits.by_class.get(f"c{class_id}", limits.confidence)):
            rows.append((float(scores[class_id]), class_id, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
    rows.sort(key=lambda row: -row[0])
    kept: list[tuple[float, int, tuple[float, ...]]] = []
    for row in rows:
        if all(row[1] != one[1] or not _over(one[2], row[2], limits.iou) for one in kept):
            kept.append(row)
    return [
        [confidence, class_id, *letterbox.boxes_to_frame(np.array([box], np.float32))[0]]
        for confidence, class_id, box in kept[: limits.max_objects]
    ]


def _over(a: tuple[float, ...], b: tuple[float, ...], iou: float) -> bool:
    zero: Any = np.float32(0)
    common = max(min(a[2], b[2]) - max(a[0], b[0]), zero) * max(min(a[3], b[3]) - max(a[1], b[1]), zero)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return bool(common > union * np.float32(iou))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    classes=st.sampled_from([1, 2, 5]),
    confidence=st.sampled_from([0.0, 0.25, 0.6]),
    by_class=st.dictionaries(st.sampled_from(["c0", "c1", "c4"]), st.sampled_from([0.1, 0.7, 1.01])),
)
def test_decode_equals_the_naive_way(
    seed: int, classes: int, confidence: float, by_class: dict[str, float]
) -> None:
    rng = np.random.default_rng(seed)
    table = np.concatenate(
        [rng.uniform(0, 640, (2, 200)), rng.uniform(5, 200, (2, 200)), rng.uniform(0, 1, (classes, 200))]
    ).astype(np.float32)
    letterbox = Letterbox.fit(Size(480, 854), Size(640, 640))
    limits = Thresholds(confidence=confidence, by_class=by_class, max_objects=40)
    result = head(classes).decode([table], letterbox, limits)
    got = np.column_stack([result.confidence, result.class_id, result.boxes])
    np.testing.assert_array_equal(got, np.array(naive(table, classes, letterbox, limits)).reshape(-1, 6))
