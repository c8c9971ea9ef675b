from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.letterbox import Letterbox, Placement, Size, size_for_aspect

sizes = st.builds(Size, st.integers(1, 4000), st.integers(1, 4000))
placements = st.sampled_from(get_args(Placement))
input_sizes = st.builds(
    Size, st.integers(1, 40).map(lambda n: 32 * n), st.integers(1, 40).map(lambda n: 32 * n)
)


@pytest.mark.parametrize(
    ("frame", "input_size", "resized", "left_px", "top_px"),
    [
        (Size(720, 1280), Size(640, 640), Size(360, 640), 0, 140),
        (Size(1080, 810), Size(640, 640), Size(640, 480), 80, 0),
        (Size(576, 768), Size(640, 640), Size(480, 640), 0, 80),
        (Size(720, 1280), Size(384, 640), Size(360, 640), 0, 12),
        (Size(64, 64), Size(640, 640), Size(640, 640), 0, 0),
        # 213 rows of padding: 106 above, 107 below.
        (Size(427, 640), Size(640, 640), Size(427, 640), 0, 106),
        # Half a pixel is rounded to the even side: 1 x 5 scaled by 64 / 10.
        (Size(5, 10), Size(65, 65), Size(32, 65), 0, 16),
        (Size(1, 5000), Size(640, 640), Size(1, 640), 0, 319),
    ],
)
def test_fit_places_a_frame_as_the_trainer_does(
    frame: Size, input_size: Size, resized: Size, left_px: int, top_px: int
) -> None:
    box = Letterbox.fit(frame, input_size)
    assert (box.resized, box.left_px, box.top_px) == (resized, left_px, top_px)


@given(frame=sizes, input_size=input_sizes)
def test_fit_stays_inside_and_is_centred(frame: Size, input_size: Size) -> None:
    box = Letterbox.fit(frame, input_size)
    right_px = input_size.width_px - box.resized.width_px - box.left_px
    below_px = input_size.height_px - box.resized.height_px - box.top_px
    assert 0 <= right_px - box.left_px <= 1
    assert 0 <= below_px - box.top_px <= 1
    assert box.resized.width_px == input_size.width_px or box.resized.height_px == input_size.height_px


@pytest.mark.parametrize(
    ("placement", "frame", "input_size", "resized", "left_px", "top_px"),
    [
        ("corner", Size(720, 1280), Size(640, 640), Size(360, 640), 0, 0),
        # 427 x 0.96 = 409.9: cut, where `centre` rounds to 410.
        ("corner", Size(427, 500), Size(416, 480), Size(409, 480), 0, 0),
        ("corner", Size(1, 5000), Size(640, 640), Size(1, 640), 0, 0),
        ("stretch", Size(720, 1280), Size(640, 640), Size(640, 640), 0, 0),
        ("stretch", Size(1, 5000), Size(384, 640), Size(384, 640), 0, 0),
        # 1280 x 224 / 720 = 398.2, of which 224 are seen.
        ("crop", Size(720, 1280), Size(224, 224), Size(224, 398), -87, 0),
        ("crop", Size(1080, 810), Size(224, 224), Size(298, 224), 0, -37),
        ("crop", Size(50, 50), Size(224, 224), Size(224, 224), 0, 0),
        # Past 16 inputs a side is squeezed rather than a million columns made.
        ("crop", Size(1, 5000), Size(224, 224), Size(224, 3584), -1680, 0),
    ],
)
def test_fit_places_a_frame_as_each_family_does(
    placement: Placement, frame: Size, input_size: Size, resized: Size, left_px: int, top_px: int
) -> None:
    box = Letterbox.fit(frame, input_size, placement)
    assert (box.resized, box.left_px, box.top_px) == (resized, left_px, top_px)


@given(frame=sizes, input_size=input_sizes)
def test_crop_fills_the_input_with_the_middle(frame: Size, input_size: Size) -> None:
    box = Letterbox.fit(frame, input_size, "crop")
    right_px = box.resized.width_px - input_size.width_px + box.left_px
    below_px = box.resized.height_px - input_size.height_px + box.top_px
    assert box.left_px <= 0
    assert box.top_px <= 0
    assert abs(right_px + box.left_px) <= 1
    assert abs(below_px + box.top_px) <= 1
    assert right_px >= 0
    assert below_px >= 0


@given(frame=sizes, input_size=input_sizes, placement=placements)
def test_fit_leaves_the_input_only_where_it_crops(
    frame: Size, input_size: Size, placement: Placement
) -> None:
    box = Letterbox.fit(frame, input_size, placement)
    assert min(box.resized.height_px, box.resized.width_px) >= 1
    if placement != "crop":
        assert 0 <= box.left_px <= input_size.width_px - box.resized.width_px
        assert 0 <= box.top_px <= input_size.height_px - box.resized.height_px


@given(frame=sizes, input_size=input_sizes, placement=placements, data=st.data())
def test_boxes_and_points_come_back_from_the_input_unchanged(
    frame: Size, input_size: Size, placement: Placement, data: st.DataObject
) -> None:
    fraction = st.floats(0, 1)
    fractions = data.draw(st.lists(st.tuples(fraction, fraction, fraction, fraction), max_size=5))
    sides = [frame.width_px, frame.height_px] * 2
    boxes = np.array(fractions, np.float64).reshape(-1, 4) * sides
    letterbox = Letterbox.fit(frame, input_size, placement)
    inside = letterbox.boxes_to_input(boxes)
    np.testing.assert_allclose(letterbox.boxes_to_frame(inside), boxes, rtol=0, atol=1e-9 * max(sides))
    points = letterbox.points_to_frame(inside.reshape(-1, 2, 2))
    np.testing.assert_allclose(points.reshape(-1, 4), boxes, rtol=0, atol=1e-9 * max(sides))


@given(frame=sizes, input_size=input_sizes, placement=placements)
def test_what_lies_outside_is_clipped_to_the_frame(
    frame: Size, input_size: Size, placement: Placement
) -> None:
    letterbox = Letterbox.fit(frame, input_size, placement)
    far = np.array([[-1e8, -1e8, 1e8, 1e8]], np.float32)
    assert letterbox.boxes_to_frame(far).tolist() == [[0, 0, frame.width_px, frame.height_px]]
    corners = letterbox.points_to_frame(far.reshape(2, 2))
    assert corners.tolist() == [[0, 0], [frame.width_px, frame.height_px]]


def test_points_and_corners_of_boxes_agree() -> None:
    letterbox = Letterbox.fit(Size(720, 1280), Size(640, 640))
    boxes = np.array([[10.5, 150, 300, 480.25]], np.float32)
    points = letterbox.points_to_frame(boxes.reshape(1, 2, 2))
    assert points.reshape(1, 4).tolist() == letterbox.boxes_to_frame(boxes).tolist()


@pytest.mark.parametrize(
    ("frame", "longest_px", "wanted"),
    [
        (Size(720, 1280), 640, Size(384, 640)),
        (Size(1280, 720), 640, Size(640, 384)),
        (Size(480, 640), 640, Size(480, 640)),
        (Size(576, 768), 640, Size(480, 640)),
        (Size(1080, 810), 640, Size(640, 480)),
        (Size(500, 500), 640, Size(640, 640)),
        (Size(720, 1280), 650, Size(384, 672)),
        (Size(1, 5000), 640, Size(32, 640)),
    ],
)
def test_size_for_aspect_is_the_smallest_of_whole_strides(frame: Size, longest_px: int, wanted: Size) -> None:
    assert size_for_aspect(frame, longest_px=longest_px, stride=32) == wanted


@given(frame=sizes)
def test_size_for_aspect_loses_no_pixel_of_the_scale(frame: Size) -> None:
    size = size_for_aspect(frame, longest_px=640, stride=32)
    box = Letterbox.fit(frame, size)
    gain = box.gain_x if frame.width_px >= frame.height_px else box.gain_y
    assert gain == pytest.approx(640 / max(frame.height_px, frame.width_px), rel=0.02)
