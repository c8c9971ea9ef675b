"""How far two models agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.detections import Detections, no_detections
from agent.vision.concordance import Concordance, compare

NAMES = {0: "person", 1: "dog"}
SWAPPED = {0: "dog", 1: "person"}


def found(*objects: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    ordered = sorted(objects, key=lambda each: -each[1])
    return Detections(
        boxes=np.array([box for box, _, _ in ordered], np.float64).reshape(-1, 4),
        confidence=np.array([confidence for _, confidence, _ in ordered], np.float32),
        class_id=np.array([class_id for _, _, class_id in ordered], np.int32),
    )


LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 120.0, 10.0)
NEAR_LEFT = (0.0, 0.0, 10.0, 8.0)  # IoU 0.8 with LEFT
HALF_LEFT = (0.0, 0.0, 10.0, 4.9)  # IoU 0.49


@pytest.mark.parametrize(
    ("first", "second", "names", "expected"),
    [
        pytest.param(no_detections(), no_detections(), NAMES, Concordance(1), id="nothing"),
        pytest.param(
            found((LEFT, 0.5, 0)), no_detections(), NAMES, Concordance(1, first=1), id="only the first"
        ),
        pytest.param(
            found((LEFT, 0.5, 0)),
            found((NEAR_LEFT, 0.75, 0), (RIGHT, 0.5, 0)),
            NAMES,
            Concordance(1, 1, 2, 1, 0, 0.8, 0.25),
            id="one of two",
        ),
        pytest.param(
            found((LEFT, 0.5, 0)), found((HALF_LEFT, 0.5, 0)), NAMES, Concordance(1, 1, 1), id="too far off"
        ),
        pytest.param(
            found((LEFT, 0.5, 0)),
            found((LEFT, 0.5, 1)),
            NAMES,
            Concordance(1, 1, 1, 1, 1, 1.0, 0.0),
            id="another class",
        ),
        pytest.param(
            found((LEFT, 0.5, 0)),
            found((LEFT, 0.5, 1)),
            SWAPPED,
            Concordance(1, 1, 1, 1, 0, 1.0, 0.0),
            id="the same class under another number",
        ),
        pytest.param(
            found((LEFT, 0.5, 0), (NEAR_LEFT, 0.25, 0)),
            found((NEAR_LEFT, 0.5, 0)),
            NAMES,
            Concordance(1, 2, 1, 1, 0, 1.0, 0.25),
            id="each box once, the best overlap first",
        ),
    ],
)
def test_boxes_are_matched(
    first: Detections, second: Detections, names: dict[int, str], expected: Concordance
) -> None:
    told = compare(first, second, first_names=NAMES, second_names=names)
    assert told.iou_sum == pytest.approx(expected.iou_sum)
    assert told.confidence_sum == pytest.approx(expected.confidence_sum)
    counts = ("frames", "first", "second", "matched", "classes_differ")
    assert [getattr(told, name) for name in counts] == [getattr(expected, name) for name in counts]


def test_shares_are_over_all_pictures() -> None:
    total = Concordance(1, 2, 2, 2, 1, 1.8, -0.2) + Concordance(1, 2, 0) + Concordance(1)
    assert total.frames == 3
    assert total.agreement == pytest.approx(2 * 1 / 6)
    assert (total.found_of_first, total.confirmed_of_second) == (0.5, 1.0)
    assert total.mean_iou == pytest.approx(0.9)
    assert total.mean_confidence_difference == pytest.approx(-0.1)
    nothing = Concordance(5)
    assert (nothing.agreement, nothing.mean_iou, nothing.mean_confidence_difference) == (1.0, None, None)


SIDES = st.integers(0, 100).map(float)
OBJECTS = st.tuples(
    st.tuples(SIDES, SIDES, SIDES, SIDES).map(
        lambda s: (min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3]))
    ),
    st.floats(0, 1, width=32),
    st.integers(0, 1),
)


@given(st.lists(OBJECTS, max_size=8), st.lists(OBJECTS, max_size=8))
def test_agreement_is_a_share_and_a_model_finds_its_own_objects(
    first: list[tuple[tuple[float, float, float, float], float, int]],
    second: list[tuple[tuple[float, float, float, float], float, int]],
) -> None:
    told = compare(found(*first), found(*second), first_names=NAMES, second_names=NAMES)
    assert 0 <= told.agreement <= 1
    assert told.matched <= min(len(first), len(second))
    assert told.classes_differ <= told.matched
    itself = compare(found(*first), found(*first), first_names=NAMES, second_names=NAMES)
    with_area = [box for box, _, _ in first if box[2] > box[0] and box[3] > box[1]]
    assert itself.matched == len(with_area)
