"""Average precision against values worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.demo_training.average_precision import OVERLAPS, Scored, average_precision, pairwise_iou

_TRUE = np.array([(0, 0, 10, 10), (100, 0, 110, 10)], np.float64)


def _scored(boxes: NDArray[np.float64], confidence: list[float]) -> Scored:
    return Scored(
        boxes=boxes,
        confidence=np.array(confidence, np.float32),
        class_id=np.zeros(len(boxes), np.int32),
        true_boxes=_TRUE,
        true_class_id=np.zeros(len(_TRUE), np.int32),
    )


def test_finding_all_exactly_is_1_at_every_overlap() -> None:
    assert average_precision([_scored(_TRUE, [0.9, 0.8])], classes=1).tolist() == [[1.0] * len(OVERLAPS)]


def test_finding_nothing_is_0() -> None:
    assert average_precision([_scored(np.empty((0, 4)), [])], classes=1).sum() == 0


def test_a_class_that_is_nowhere_has_no_figure() -> None:
    result = average_precision([_scored(_TRUE, [0.9, 0.8])], classes=2)
    assert np.isnan(result[1]).all()


def test_finding_half_counts_the_recalls_up_to_half() -> None:
    result = average_precision([_scored(_TRUE[:1], [0.9])], classes=1)
    # 0.00, 0.01, … 0.50 are 51 of 101 recalls.
    assert result[0] == pytest.approx([51 / 101] * len(OVERLAPS))


def test_a_second_box_on_one_part_is_a_false_alarm() -> None:
    boxes = np.concatenate([_TRUE[:1], _TRUE[:1], _TRUE[1:]])
    result = average_precision([_scored(boxes, [0.9, 0.8, 0.7])], classes=1)
    # Precision 1 up to recall 0.5, then 2 of 3.
    assert result[0, 0] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_shifted_box_counts_up_to_its_overlap() -> None:
    shifted = np.add(_TRUE, (0, 0, 2.5, 0))  # 10 of 12.5 columns are shared
    result = average_precision([_scored(shifted, [0.9, 0.8])], classes=1)
    assert result[0].tolist() == [1.0 if least <= 0.8 + 1e-9 else 0.0 for least in OVERLAPS]


def test_confidence_ranks_across_pictures() -> None:
    wrong = _scored(np.array([(50.0, 50, 60, 60)]), [0.95])
    right = _scored(_TRUE, [0.9, 0.8])
    result = average_precision([wrong, right], classes=1)
    # Of four parts two are found, after one false alarm: 1 of 2, then 2 of 3.
    assert result[0, 0] == pytest.approx(51 * (2 / 3) / 101)


def test_overlap_of_boxes_is_symmetric_and_zero_when_apart() -> None:
    overlap = pairwise_iou(_TRUE, _TRUE)
    assert np.array_equal(overlap, np.eye(2))
