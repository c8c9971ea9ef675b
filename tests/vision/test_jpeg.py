"""Pictures as JPEG within bounds."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.vision.jpeg import LEAST_QUALITY, encode_jpeg


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((480, 640), 1280, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((640, 480), 320, (320, 240)),
        ((2, 1000), 64, (1, 64)),
    ],
)
def test_a_picture_is_made_smaller_but_never_larger(
    size: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    jpeg = encode_jpeg(noise(*size), quality=80, longest_side_px=longest, most_bytes=1 << 20)
    assert jpeg is not None
    decoded = cv2.imdecode(np.frombuffer(jpeg.body, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape[:2] == (jpeg.height_px, jpeg.width_px) == expected


@settings(max_examples=30, deadline=None)
@given(quality=st.integers(10, 95), most_bytes=st.integers(1_000, 60_000))
def test_it_fits_or_there_is_none(quality: int, most_bytes: int) -> None:
    pixels = noise(96, 128)
    jpeg = encode_jpeg(pixels, quality=quality, longest_side_px=1280, most_bytes=most_bytes)
    if jpeg is None:
        least = encode_jpeg(pixels, quality=LEAST_QUALITY, longest_side_px=1280, most_bytes=1 << 20)
        assert least is not None
        assert len(least.body) > most_bytes
    else:
        assert len(jpeg.body) <= most_bytes
        assert LEAST_QUALITY <= jpeg.quality <= quality
