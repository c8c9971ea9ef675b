from __future__ import annotations

import tracemalloc
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.vision.feeding import Feeder, Feeding, PixelCode, size_of
from agent.vision.letterbox import Placement, Size


def picture(height_px: int, width_px: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def plain_way(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.float32]:
    """Letterboxed, RGB, planar, divided by 255: step by step, with a copy at each."""
    height, width = pixels.shape[:2]
    gain = min(size.height_px / height, size.width_px / width)
    new_width, new_height = round(width * gain), round(height * gain)
    rest_x, rest_y = (size.width_px - new_width) / 2, (size.height_px - new_height) / 2
    resized = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(
        resized,
        round(rest_y - 0.1),
        round(rest_y + 0.1),
        round(rest_x - 0.1),
        round(rest_x + 0.1),
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )
    planar: NDArray[Any] = padded[..., ::-1].transpose(2, 0, 1)
    return planar.astype(np.float32) / np.float32(255)


@settings(deadline=None, max_examples=40)
@given(height_px=st.integers(20, 400), width_px=st.integers(20, 400), seed=st.integers(0, 9))
def test_feeder_writes_exactly_what_the_plain_way_computes(height_px: int, width_px: int, seed: int) -> None:
    size = Size(96, 160)
    feeder = Feeder(slots=1, size=size, feeding=Feeding(PixelCode()))
    pixels = picture(height_px, width_px, seed)
    feeder.put(0, pixels)
    np.testing.assert_array_equal(feeder.filled(1)[0], plain_way(pixels, size))


def test_slots_keep_to_themselves_and_are_padded_anew_when_a_frame_differs_in_size() -> None:
    size = Size(96, 160)
    feeder = Feeder(slots=2, size=size, feeding=Feeding(PixelCode()))
    wide, tall, small = picture(90, 160), picture(160, 90), picture(96, 160)
    for first, second in ((wide, tall), (tall, small), (small, wide), (small, wide)):
        feeder.put(0, first)
        feeder.put(1, second)
        np.testing.assert_array_equal(feeder.filled(2)[0], plain_way(first, size))
        np.testing.assert_array_equal(feeder.filled(2)[1], plain_way(second, size))


def test_feeder_never_writes_to_the_picture() -> None:
    pixels = picture(96, 160)
    before = pixels.copy()
    pixels.flags.writeable = False
    Feeder(slots=1, size=Size(96, 160), feeding=Feeding(PixelCode())).put(0, pixels)
    np.testing.assert_array_equal(pixels, before)


def test_unused_slots_hold_grey_and_not_what_memory_held() -> None:
    feeder = Feeder(slots=3, size=Size(32, 32), feeding=Feeding(PixelCode()))
    assert np.unique(feeder.filled(3)).tolist() == [np.float32(114) / np.float32(255)]


@pytest.mark.parametrize("element", ["float32", "float16", "uint8"])
def test_code_makes_the_element_that_the_model_takes(element: Any) -> None:
    scale = 1.0 if element == "uint8" else 255.0
    pixels = picture(32, 32)
    feeder = Feeder(slots=1, size=Size(32, 32), feeding=Feeding(PixelCode(element=element, scale=scale)))
    feeder.put(0, pixels)
    wanted = (pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(scale)).astype(element)
    assert feeder.filled(1).dtype == np.dtype(element)
    np.testing.assert_array_equal(feeder.filled(1)[0], wanted)


def test_code_keeps_the_order_of_colours_that_the_model_takes() -> None:
    pixels = picture(32, 32)
    feeder = Feeder(
        slots=1, size=Size(32, 32), feeding=Feeding(PixelCode(colours="bgr", scale=1.0, element="uint8"))
    )
    feeder.put(0, pixels)
    np.testing.assert_array_equal(feeder.filled(1)[0], pixels.transpose(2, 0, 1))


def test_code_normalises_each_channel_in_the_order_of_the_model() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = picture(32, 32)
    feeder = Feeder(slots=1, size=Size(32, 32), feeding=Feeding(PixelCode(mean=mean, std=std)))
    feeder.put(0, pixels)
    red = (pixels[..., 2] / np.float32(255) - np.float32(0.485)) / np.float32(0.229)
    blue = (pixels[..., 0] / np.float32(255) - np.float32(0.406)) / np.float32(0.225)
    np.testing.assert_array_equal(feeder.filled(1)[0, 0], red)
    np.testing.assert_array_equal(feeder.filled(1)[0, 2], blue)


def test_padding_goes_through_the_table_of_its_channel() -> None:
    code = PixelCode(scale=1.0, mean=(1.0, 2.0, 3.0))
    feeder = Feeder(slots=1, size=Size(32, 64), feeding=Feeding(code, placement="corner"))
    feeder.put(0, picture(32, 32))
    assert feeder.filled(1)[0, :, 31, 63].tolist() == [113, 112, 111]


@settings(deadline=None, max_examples=60)
@given(
    height_px=st.integers(8, 300),
    width_px=st.integers(8, 300),
    placement=st.sampled_from(get_args(Placement)),
    shrinking=st.sampled_from(["linear", "area"]),
)
def test_feeder_lays_a_picture_where_its_letterbox_says(
    height_px: int, width_px: int, placement: Placement, shrinking: Any
) -> None:
    """A whole canvas large enough for everything, of which the input is a window."""
    size = Size(96, 160)
    feeding = Feeding(PixelCode(scale=1.0, colours="bgr"), placement=placement, shrinking=shrinking)
    feeder = Feeder(slots=1, size=size, feeding=feeding)
    # Another size before, whose traces must not stay.
    feeder.put(0, picture(40, 40, seed=5))
    pixels = picture(height_px, width_px)
    box = feeder.put(0, pixels)
    shrinks = box.resized.height_px <= height_px and box.resized.width_px <= width_px
    by = cv2.INTER_AREA if shrinking == "area" and shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, (box.resized.width_px, box.resized.height_px), interpolation=by)
    off_x, off_y = max(-box.left_px, 0), max(-box.top_px, 0)
    sides = (off_y * 2 + size.height_px + 2, off_x * 2 + size.width_px + 2, 3)
    canvas = np.full(sides, 114, np.uint8)
    top, left = box.top_px + off_y, box.left_px + off_x
    canvas[top : top + box.resized.height_px, left : left + box.resized.width_px] = resized
    window = canvas[off_y : off_y + size.height_px, off_x : off_x + size.width_px]
    np.testing.assert_array_equal(feeder.filled(1)[0], window.transpose(2, 0, 1))


@pytest.mark.parametrize("placement", get_args(Placement))
def test_a_frame_of_the_same_size_costs_no_memory(placement: Placement) -> None:
    feeder = Feeder(slots=1, size=Size(640, 640), feeding=Feeding(PixelCode(), placement=placement))
    pixels = picture(720, 1280)
    feeder.put(0, pixels)
    tracemalloc.start()
    try:
        for _ in range(5):
            feeder.put(0, pixels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A single plane of the input would be 1.6 MB.
    assert peak < 50_000


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\]"):
        size_of(pixels)
