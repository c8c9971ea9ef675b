"""Average precision against values worked out by hand."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.workbench.average_precision import ClassFigures, Scored, evaluate

_TRUE = np.array([(0, 0, 10, 10), (100, 0, 110, 10)], np.float64)


def scored(
    boxes: NDArray[np.float64], confidence: list[float], *, crowd: NDArray[np.bool_] | None = None
) -> Scored:
    return Scored(
        boxes=boxes,
        confidence=np.array(confidence, np.float32),
        class_id=np.zeros(len(boxes), np.int32),
        true_boxes=_TRUE,
        true_class_id=np.zeros(len(_TRUE), np.int32),
        crowd=crowd,
    )


def only(*pictures: Scored) -> ClassFigures:
    (figures,) = evaluate(pictures, {0: "part"}).classes
    return figures


def test_finding_all_exactly_is_1_at_every_overlap() -> None:
    found = only(scored(_TRUE, [0.9, 0.8]))
    assert (found.ap50, found.ap50_95, found.recall, found.objects) == (1.0, 1.0, 1.0, 2)
    assert found.best_f1 == pytest.approx(1.0)
    assert found.best_confidence == pytest.approx(0.8)


def test_finding_nothing_is_0() -> None:
    found = only(scored(np.empty((0, 4)), []))
    assert (found.ap50, found.ap50_95, found.recall) == (0.0, 0.0, 0.0)


def test_false_alarms_alone_make_no_threshold_the_best() -> None:
    found = only(scored(_TRUE + 500, [0.9, 0.8]))
    assert found.best_f1 == 0.0
    assert math.isnan(found.best_confidence)


def test_a_class_that_is_nowhere_has_no_figure_and_no_part_in_the_mean() -> None:
    figures = evaluate([scored(_TRUE, [0.9, 0.8])], {0: "part", 1: "other"})
    assert math.isnan(figures.classes[1].ap50)
    assert (figures.map50, figures.map50_95, figures.recall, figures.objects) == (1.0, 1.0, 1.0, 2)


def test_finding_half_counts_the_recalls_up_to_half() -> None:
    found = only(scored(_TRUE[:1], [0.9]))
    # 0.00, 0.01, … 0.50 are 51 of 101 recalls.
    assert found.ap50 == found.ap50_95 == pytest.approx(51 / 101)
    assert found.recall == 0.5


def test_a_second_box_on_one_part_is_a_false_alarm() -> None:
    found = only(scored(np.concatenate([_TRUE[:1], _TRUE[:1], _TRUE[1:]]), [0.9, 0.8, 0.7]))
    # Precision 1 up to recall 0.5, then 2 of 3.
    assert found.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_shifted_box_counts_up_to_its_overlap() -> None:
    found = only(scored(np.add(_TRUE, (0, 0, 2.6, 0)), [0.9, 0.8]))  # 10 of 12.6 columns are shared
    # 0.50, 0.55, … 0.75 are 6 of 10 overlaps.
    assert found.ap50 == pytest.approx(1.0)
    assert found.ap50_95 == pytest.approx(0.6)


def test_confidence_ranks_across_pictures() -> None:
    found = only(scored(np.array([(50.0, 50, 60, 60)]), [0.95]), scored(_TRUE, [0.9, 0.8]))
    # Of four parts two are found, after one false alarm: 1 of 2, then 2 of 3.
    assert found.ap50 == pytest.approx(51 * (2 / 3) / 101)


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong() -> None:
    in_crowd = np.array([(0.0, 0, 10, 10), (100, 0, 105, 5), (105, 5, 110, 10)])
    found = only(scored(in_crowd, [0.7, 0.9, 0.8], crowd=np.array([False, True])))
    assert found.ap50 == pytest.approx(1.0)
    assert found.objects == 1


def test_the_library_says_nothing_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    only(scored(_TRUE, [0.9, 0.8]))
    assert capfd.readouterr() == ("", "")
