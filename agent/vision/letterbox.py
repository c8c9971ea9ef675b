"""How a picture is laid into a model's input without changing its aspect, and the way back.

Source: the rounding is that of Ultralytics' ``LetterBox(auto=False, scaleup=True)`` and ``scale_boxes``,
so that boxes agree with the trainer's own.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

# Halves go up on the near side and down on the far one: an odd rest pads one pixel more below and right.
_HALF = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """Height and width in pixels."""

    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies inside an input: scaled by `gain`, its corner at (`left_px`, `top_px`)."""

    frame: Size
    input: Size
    gain: float
    resized: Size
    left_px: int
    top_px: int

    @classmethod
    def fit(cls, frame: Size, input_size: Size) -> Self:
        """The frame as large as the input holds it, centred.

        >>> box = Letterbox.fit(Size(720, 1280), Size(640, 640))
        >>> box.resized, box.left_px, box.top_px
        (Size(height_px=360, width_px=640), 0, 140)
        """
        gain = min(input_size.height_px / frame.height_px, input_size.width_px / frame.width_px)
        # A frame of 1 x 5000 still has to leave a row to resize into.
        resized = Size(max(round(frame.height_px * gain), 1), max(round(frame.width_px * gain), 1))
        return cls(
            frame=frame,
            input=input_size,
            gain=gain,
            resized=resized,
            left_px=round((input_size.width_px - resized.width_px) / 2 - _HALF),
            top_px=round((input_size.height_px - resized.height_px) / 2 - _HALF),
        )

    def boxes_to_frame(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """`boxes` `[N, 4]`, x1, y1, x2, y2 of the input, as pixels of the frame, clipped to it."""
        shift = np.array([self.left_px, self.top_px] * 2, np.float64)
        limit = np.array([self.frame.width_px, self.frame.height_px] * 2, np.float64)
        placed = (boxes.astype(np.float64) - shift) / self.gain
        return np.clip(placed, 0.0, limit, out=placed)

    def points_to_frame(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """`points` `[..., 2]`, x, y of the input, as pixels of the frame, clipped to it."""
        shift = np.array([self.left_px, self.top_px], np.float64)
        limit = np.array([self.frame.width_px, self.frame.height_px], np.float64)
        placed = (points.astype(np.float64) - shift) / self.gain
        return np.clip(placed, 0.0, limit, out=placed)

    def boxes_to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """The way in: `boxes` `[N, 4]` of the frame as pixels of the input."""
        shift = np.array([self.left_px, self.top_px] * 2, np.float64)
        return boxes.astype(np.float64) * self.gain + shift


def size_for_aspect(frame: Size, *, longest_px: int, stride: int) -> Size:
    """The smallest input of whole strides that holds the frame with its longer side at `longest_px`.

    >>> size_for_aspect(Size(720, 1280), longest_px=640, stride=32)
    Size(height_px=384, width_px=640)
    """
    gain = longest_px / max(frame.height_px, frame.width_px)
    # Round to whole pixels first: 480.00000001 must not become 512.
    height_px, width_px = (round(side * gain) for side in (frame.height_px, frame.width_px))
    return Size(_multiple_above(height_px, stride), _multiple_above(width_px, stride))


def _multiple_above(value: int, stride: int) -> int:
    return max(-(-value // stride), 1) * stride
