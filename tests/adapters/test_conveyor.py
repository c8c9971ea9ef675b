"""The rendered conveyor: pictures and truth are pure, agree with each other, and move."""

import cv2
import numpy as np
import pytest

from agent.adapters.cameras.conveyor import CLASS_NAMES, ConveyorScene, Truth

_SIZES = [(640, 480), (1280, 720), (320, 240), (480, 640), (101, 97)]


def _scene(
    width_px: int = 640, height_px: int = 480, seed: int = 7, *, shuffled: bool = False
) -> ConveyorScene:
    return ConveyorScene(width_px=width_px, height_px=height_px, seed=seed, shuffled=shuffled)


@pytest.mark.parametrize(("width", "height"), _SIZES)
def test_picture_has_the_asked_shape_and_is_the_callers_own(width: int, height: int) -> None:
    scene = _scene(width, height)
    picture = scene.render(3)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    before = picture.copy()
    picture[:] = 0
    assert np.array_equal(scene.render(3), before)


@pytest.mark.parametrize("shuffled", [False, True])
def test_picture_and_truth_depend_on_seed_number_and_size_alone(*, shuffled: bool) -> None:
    first, second = _scene(shuffled=shuffled), _scene(shuffled=shuffled)
    first.render(900)
    for number in (12, 0, 500):
        assert np.array_equal(first.render(number), second.render(number))
        assert np.array_equal(first.truth(number).boxes, second.truth(number).boxes)
        assert np.array_equal(first.truth(number).class_id, second.truth(number).class_id)


def test_other_seeds_and_numbers_show_other_pictures() -> None:
    picture = _scene().render(0)
    assert not np.array_equal(picture, _scene(seed=8).render(0))
    assert not np.array_equal(picture, _scene().render(1))


@pytest.mark.parametrize(("width", "height"), _SIZES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_truth_lies_inside_the_picture(width: int, height: int, *, shuffled: bool) -> None:
    scene = _scene(width, height, shuffled=shuffled)
    truths = [scene.truth(number) for number in range(0, 200, 7)]
    boxes = np.concatenate([truth.boxes for truth in truths])
    classes = np.concatenate([truth.class_id for truth in truths])
    assert len(boxes) > 20
    assert boxes.dtype == np.float64
    assert classes.dtype == np.int32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (width, height)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert set(classes.tolist()) == set(range(len(CLASS_NAMES)))


def _inside(truth: Truth, width_px: int, margin_px: int) -> list[int]:
    """Indices of the parts that both borders leave whole for some pictures."""
    left, right = truth.boxes[:, 0], truth.boxes[:, 2]
    return [int(i) for i in np.flatnonzero((left > margin_px) & (right < width_px - margin_px))]


def test_parts_travel_with_the_belt_and_keep_their_boxes() -> None:
    scene = _scene()
    earlier, later = scene.truth(40), scene.truth(50)
    shifts = set()
    for index in _inside(earlier, 640, 150):
        same = np.flatnonzero(later.class_id == earlier.class_id[index])
        moved = later.boxes[same] - earlier.boxes[index]
        level = moved[(moved[:, 1] == 0) & (moved[:, 3] == 0) & (moved[:, 0] == moved[:, 2])]
        shifts |= set(level[:, 0].tolist())
    assert len(_inside(earlier, 640, 150)) >= 3
    assert shifts == {40.0}


def test_parts_enter_at_the_left_and_leave_at_the_right() -> None:
    scene = _scene()
    touches_left = touches_right = False
    for number in range(0, 400, 5):
        boxes = scene.truth(number).boxes
        touches_left |= bool((boxes[:, 0] == 0).any())
        touches_right |= bool((boxes[:, 2] == 640).any())
    assert touches_left
    assert touches_right


def test_shuffled_numbers_share_no_arrangement() -> None:
    scene = _scene(shuffled=True)
    seen = [tuple(map(tuple, scene.truth(number).boxes)) for number in range(30)]
    assert len(set(seen)) == len(seen)


def test_boxes_are_where_the_structure_is() -> None:
    scene = _scene(shuffled=True)
    inside, around = [], []
    for number in range(12):
        grey = cv2.cvtColor(scene.render(number), cv2.COLOR_BGR2GRAY)
        edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)).astype(np.float64)
        for x1, y1, x2, y2 in scene.truth(number).boxes.astype(int):
            own = edges[y1:y2, x1:x2]
            with_rim = edges[max(y1 - 14, 0) : y2 + 14, max(x1 - 14, 0) : x2 + 14]
            inside.append(own.mean())
            around.append((with_rim.sum() - own.sum()) / max(with_rim.size - own.size, 1))
    # Shadows, rails and neighbours leave some structure around a box, too.
    assert np.mean(inside) > 1.5 * np.mean(around)


def test_what_hides_a_part_is_not_counted_to_it() -> None:
    """A washer is as wide as high: only the border, a rail or what lies on it makes its box anything else."""
    scene, washer = _scene(shuffled=True), CLASS_NAMES.index("washer")
    truths = [scene.truth(number) for number in range(120)]
    boxes = np.concatenate([truth.boxes[truth.class_id == washer] for truth in truths])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    uneven = np.abs(width - height)
    assert (uneven <= 1).mean() > 0.5
    assert (uneven > 5).any()
    # At least the promised share is to be seen of each.
    whole = (width * height)[uneven <= 1]
    assert (width * height).min() > 0.3 * whole.min()


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        _scene(63, 480)
