"""The heads beside YOLOv8's: what each makes of small outputs written by hand."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeding, PixelCode
from agent.vision.heads.classify import ClassifyHead
from agent.vision.heads.end2end import EndToEndHead
from agent.vision.heads.grid import STRIDES, cell_count, cells_at, strides_for
from agent.vision.heads.yolov5 import YoloV5Head
from agent.vision.heads.yolox import YoloXHead
from agent.vision.letterbox import Letterbox, Size

SAME: Final = Letterbox.fit(Size(640, 640), Size(640, 640))
NAMES: Final = {0: "a", 1: "b"}


def yolov5(*, scored: bool = True) -> YoloV5Head:
    return YoloV5Head(class_names=NAMES, output_name="o", feeding=Feeding(), scored=scored)


def yolox() -> YoloXHead:
    return YoloXHead(class_names=NAMES, output_name="o", strides=(8, 16, 32))


def end2end(
    names: dict[int, str] | None = None, keypoint_shape: tuple[int, int] | None = None
) -> EndToEndHead:
    return EndToEndHead(
        class_names=NAMES if names is None else names, keypoint_shape=keypoint_shape, output_name="o"
    )


def table(*rows: list[float]) -> NDArray[np.float32]:
    return np.array([[0.0] * len(rows[0]), *rows], np.float32)


def test_objectness_times_score_is_the_confidence() -> None:
    rows = table(
        [100, 100, 40, 20, 0.8, 0.25, 0.75], [300, 300, 10, 10, 0.5, 0.4, 0.1], [9, 9, 2, 2, 0.2, 1, 1]
    )
    found = yolov5().decode([rows], SAME, Thresholds(confidence=0.25))
    assert found.boxes.tolist() == [[80, 90, 120, 110]]
    assert found.class_id.tolist() == [1]
    assert found.confidence.tolist() == pytest.approx([0.6])


def test_objectness_is_all_where_classes_carry_no_score() -> None:
    rows = table([100, 100, 40, 20, 0.8, 0.5])
    head = YoloV5Head(class_names={0: "a"}, output_name="o", feeding=Feeding(), scored=False)
    assert head.decode([rows], SAME, Thresholds()).confidence.tolist() == pytest.approx([0.8])


def test_objectness_heads_suppress_within_a_class_and_obey_limits_by_class() -> None:
    rows = table([100, 100, 40, 20, 0.9, 1, 0], [101, 100, 40, 20, 0.8, 1, 0], [102, 100, 40, 20, 0.7, 0, 1])
    found = yolov5().decode([rows], SAME, Thresholds())
    assert (found.class_id.tolist(), found.candidates) == ([0, 1], 3)
    limited = yolov5().decode([rows], SAME, Thresholds(by_class={"a": 0.95, "b": 0.6}))
    assert limited.class_id.tolist() == [1]


def test_yolox_places_a_box_by_its_cell() -> None:
    output = np.zeros((8400, 7), np.float32)
    # Row 2, column 5 of the level of stride 16, which begins after 80 x 80 cells.
    output[6400 + 2 * 40 + 5] = [0.5, 0.25, math.log(4), math.log(2), 0.9, 0.0, 1.0]
    found = yolox().decode([output], SAME, Thresholds())
    assert found.boxes.tolist() == [[pytest.approx(88 - 32), 36 - 16, pytest.approx(88 + 32), 36 + 16]]
    assert found.class_id.tolist() == [1]


def test_yolox_is_fed_bgr_bytes_in_the_corner() -> None:
    feeding = yolox().feeding
    assert (feeding.code.colours, feeding.code.scale, feeding.placement) == ("bgr", 1.0, "corner")


@pytest.mark.parametrize("head", [yolov5(), yolox()], ids=["yolov5", "yolox"])
@pytest.mark.parametrize(
    ("column", "value"), [(0, np.nan), (2, np.inf), (4, np.nan), (4, 7.5), (5, np.nan), (6, 3.0)]
)
def test_numbers_that_are_no_detections_are_an_error(head: Any, column: int, value: float) -> None:
    output = np.zeros((8400, 7), np.float32)
    output[7] = [1, 1, 1, 1, 0.9, 0.9, 0.1]
    output[7, column] = value
    with pytest.raises(TransientError) as caught:
        head.decode([output], SAME, Thresholds())
    assert caught.value.code == Code.MODEL


def test_a_logarithm_beyond_floats_is_an_error() -> None:
    output = np.zeros((8400, 7), np.float32)
    output[7] = [1, 1, 200, 1, 0.9, 0.9, 0.1]
    with pytest.raises(TransientError, match="infinity"):
        yolox().decode([output], SAME, Thresholds())


@given(size=st.builds(Size, st.integers(1, 20), st.integers(1, 20)), strides=st.sampled_from(STRIDES))
def test_cells_are_told_level_by_level_and_row_by_row(size: Size, strides: tuple[int, ...]) -> None:
    size = Size(size.height_px * 64, size.width_px * 64)
    wanted = [
        (column, row, stride)
        for stride in strides
        for row in range(size.height_px // stride)
        for column in range(size.width_px // stride)
    ]
    count = cell_count(size, strides)
    assert count == len(wanted)
    assert strides_for(size, count) == strides
    cells, stride = cells_at(np.arange(count), size, strides)
    assert list(zip(*cells.tolist(), stride.tolist(), strict=True)) == wanted


def test_finished_boxes_are_taken_as_they_are() -> None:
    rows = table([80, 90, 120, 110, 0.7, 1], [81, 90, 120, 110, 0.9, 1], [1, 2, 3, 4, 0.2, 0])
    found = end2end().decode([rows], SAME, Thresholds(iou=0.1))
    assert found.boxes.tolist() == [[81, 90, 120, 110], [80, 90, 120, 110]]
    assert (found.class_id.tolist(), found.candidates) == ([1, 1], 2)


def test_finished_boxes_obey_limits_sizes_and_numbers() -> None:
    rows = table([80, 90, 120, 110, 0.7, 1], [200, 90, 203, 110, 0.9, 1], [1, 2, 30, 40, 0.6, 0])
    thresholds = Thresholds(min_side_px=5, by_class={"a": 0.65}, max_objects=1)
    assert end2end().decode([rows], SAME, thresholds).boxes.tolist() == [[80, 90, 120, 110]]


def test_finished_boxes_of_nameless_classes_go_by_number() -> None:
    rows = table([80, 90, 120, 110, 0.7, 7], [80, 90, 120, 110, 0.7, 12])
    thresholds = Thresholds(by_class={"class-7": 0.8, "person": 0.1})
    assert end2end({}).decode([rows], SAME, thresholds).class_id.tolist() == [12]


def test_finished_keypoints_are_mapped_as_boxes() -> None:
    letterbox = Letterbox.fit(Size(720, 1280), Size(640, 640))
    rows = table([80, 190, 120, 210, 0.7, 0, 110, 250, 0.8, 1, 141, 1.5])
    found = end2end({0: "a"}, (2, 3)).decode([rows], letterbox, Thresholds())
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[0], [[220, 220, 0.8], [2, 2, 1.0]], atol=1e-6)
    nothing = end2end({0: "a"}, (2, 3)).decode([rows[:1]], letterbox, Thresholds())
    assert nothing.keypoints is not None
    assert nothing.keypoints.shape == (0, 2, 3)


@pytest.mark.parametrize(
    "row",
    [
        [80, 90, 120, 110, 0.7, 2],
        [80, 90, 120, 110, 0.7, -1],
        [80, 90, 120, 110, 0.7, np.nan],
        [80, np.inf, 120, 110, 0.7, 1],
        [80, 90, 120, 110, np.nan, 1],
        [80, 90, 120, 110, 42, 1],
    ],
)
def test_rows_that_are_no_boxes_are_an_error(row: list[float]) -> None:
    with pytest.raises(TransientError) as caught:
        end2end().decode([table(row)], SAME, Thresholds())
    assert caught.value.code == Code.MODEL


def classifier(*, logits: bool) -> ClassifyHead:
    return ClassifyHead(
        class_names={0: "cat", 1: "dog", 2: "owl"},
        output_name="o",
        feeding=Feeding(PixelCode(), placement="crop"),
        logits=logits,
    )


@pytest.mark.parametrize("logits", [False, True])
def test_a_classifier_finds_the_whole_frame(logits: bool) -> None:
    confidence = np.array([0.3, 0.6, 0.1], np.float32)
    given = np.log(confidence) + np.float32(3) if logits else confidence
    letterbox = Letterbox.fit(Size(721, 1283), Size(224, 224), "crop")
    found = classifier(logits=logits).decode([given], letterbox, Thresholds(by_class={"cat": 0.35}))
    assert found.boxes.tolist() == [[0, 0, 1283, 721]]
    assert found.class_id.tolist() == [1]
    assert found.confidence.tolist() == pytest.approx([0.6], abs=1e-6)
    every = classifier(logits=logits).decode([given], letterbox, Thresholds(confidence=0.05, max_objects=2))
    assert every.class_id.tolist() == [1, 0]


@pytest.mark.parametrize(("logits", "value"), [(False, np.nan), (False, 2.5), (True, np.nan), (True, np.inf)])
def test_a_class_that_is_no_number_is_an_error(logits: bool, value: float) -> None:
    scores = np.array([0.1, value, 0.2], np.float32)
    with pytest.raises(TransientError):
        classifier(logits=logits).decode([scores], SAME, Thresholds())
