"""How far two results are apart: each kind of difference by itself."""

from dataclasses import replace

import numpy as np
import pytest

from agent.domain.detections import Detections, no_detections
from agent.vision.agreement import Deviation, Tolerance, compare, outputs_apart

_REFERENCE = Detections(
    boxes=np.array([(10.0, 10, 50, 50), (100, 100, 180, 160), (300, 20, 340, 90)]),
    confidence=np.array([0.9, 0.7, 0.3], np.float32),
    class_id=np.array([0, 1, 0], np.int32),
)


def against(found: Detections, *, least: float = 0.25, reference: Detections = _REFERENCE) -> Deviation:
    return compare("picture", found, reference, least=least, tolerance=Tolerance())


def test_the_same_agrees_whatever_its_order() -> None:
    back = Detections(_REFERENCE.boxes[::-1], _REFERENCE.confidence[::-1], _REFERENCE.class_id[::-1])
    for found in (_REFERENCE, back):
        deviation = against(found)
        assert (deviation.objects, deviation.score, deviation.box_px) == (3, 0.0, 0.0)
        assert deviation.within(Tolerance())


@pytest.mark.parametrize("places", [(0, 0), (1, 3), (2, 2)])
def test_a_corner_off_by_more_than_is_allowed_fails(places: tuple[int, int]) -> None:
    boxes = _REFERENCE.boxes.copy()
    boxes[places] += 0.002
    deviation = against(replace(_REFERENCE, boxes=boxes))
    assert deviation.box_px == pytest.approx(0.002)
    assert not deviation.within(Tolerance())
    assert deviation.within(Tolerance(box_px=0.01))


def test_a_confidence_off_by_more_than_is_allowed_fails() -> None:
    confidence = _REFERENCE.confidence + np.array([0, 0, 2e-4], np.float32)
    deviation = against(replace(_REFERENCE, confidence=confidence))
    assert deviation.score == pytest.approx(2e-4, rel=1e-3)
    assert not deviation.within(Tolerance())


def test_of_the_three_strongest_the_relative_difference_counts() -> None:
    weak = Detections(np.array([(0.0, 0, 9, 9)]), np.array([0.02], np.float32), np.array([0], np.int32))
    deviation = against(
        replace(weak, confidence=weak.confidence + np.float32(5e-5)), reference=weak, least=0.01
    )
    assert deviation.score <= Tolerance().score
    assert deviation.top == pytest.approx(2.5e-3, rel=1e-2)
    assert not deviation.within(Tolerance())


def test_another_class_is_a_missing_and_an_extra_object() -> None:
    deviation = against(replace(_REFERENCE, class_id=np.array([0, 2, 0], np.int32)))
    assert (deviation.objects, deviation.missing, deviation.extra) == (2, 1, 1)
    assert not deviation.within(Tolerance())


@pytest.mark.parametrize(("found", "reference", "missing", "extra"), [(0, 3, 3, 0), (3, 0, 0, 3)])
def test_nothing_against_something_is_told(found: int, reference: int, missing: int, extra: int) -> None:
    sides = {0: no_detections(), 3: _REFERENCE}
    deviation = against(sides[found], reference=sides[reference])
    assert (deviation.missing, deviation.extra) == (missing, extra)


def test_a_hair_around_the_limit_is_no_difference() -> None:
    here = replace(_REFERENCE, confidence=np.array([0.9, 0.7, 0.29999], np.float32))
    there = replace(_REFERENCE, confidence=np.array([0.9, 0.7, 0.30001], np.float32))
    for found, reference in ((here, there), (there, here)):
        assert against(found, least=0.3, reference=reference).within(Tolerance())
    # The reference kept nothing below the limit.
    cut = Detections(_REFERENCE.boxes[:2], _REFERENCE.confidence[:2], _REFERENCE.class_id[:2])
    assert against(there, least=0.3, reference=cut).within(Tolerance())
    assert against(_REFERENCE, least=0.25, reference=cut).extra == 1


def test_keypoints_count_in_pixels_and_in_confidence() -> None:
    points = np.array([[(20.0, 20, 0.9)], [(120, 120, 0.5)], [(310, 40, 0.1)]])
    reference = replace(_REFERENCE, keypoints=points)
    moved, unsure = points.copy(), points.copy()
    moved[1, 0, 0] += 0.5
    unsure[1, 0, 2] += 0.01
    assert against(replace(_REFERENCE, keypoints=points), reference=reference).within(Tolerance())
    assert against(replace(_REFERENCE, keypoints=moved), reference=reference).box_px == pytest.approx(0.5)
    assert against(replace(_REFERENCE, keypoints=unsure), reference=reference).keypoint == pytest.approx(0.01)


def test_raw_scores_differ_absolutely_and_raw_pixels_by_their_channel() -> None:
    reference = np.zeros((1, 3, 100), np.float32)
    reference[0, 0] = np.linspace(0, 600, 100)
    reference[0, 2] = np.linspace(0, 1, 100)
    scores, pixels = reference.copy(), reference.copy()
    scores[0, 2, 5] += 0.01
    pixels[0, 0, 5] += 0.06
    assert outputs_apart([scores], [reference]) == pytest.approx(0.01, rel=1e-4)
    assert outputs_apart([pixels], [reference]) == pytest.approx(0.0001, rel=1e-2)
    turned = [one.transpose(0, 2, 1) for one in (pixels, reference)]
    assert outputs_apart([turned[0]], [turned[1]]) == pytest.approx(0.0001, rel=1e-2)
    assert outputs_apart([scores], [reference[:, :2]]) is None


def test_not_a_number_is_never_within() -> None:
    reference = np.zeros((1, 3, 4), np.float32)
    broken = np.full_like(reference, np.nan)
    apart = outputs_apart([broken], [reference])
    deviation = compare("p", _REFERENCE, _REFERENCE, least=0.25, tolerance=Tolerance(), output=apart)
    assert not deviation.within(Tolerance())
