"""How a picture is laid into a model's input, and the way back.

Four placements, each a trainer's own: `centre` keeps the aspect and pads on both sides, `corner` keeps it
and pads below and right, `stretch` fills the input without keeping it, `crop` fills it with the middle.

Source: the rounding of `centre` is that of Ultralytics' ``LetterBox(auto=False, scaleup=True)`` and
``scale_boxes`` (8.4), so that boxes agree with the trainer's own.
"""

from dataclasses import dataclass
from typing import Final, Literal, Self, assert_never

import numpy as np
from numpy.typing import NDArray

Placement = Literal["centre", "corner", "stretch", "crop"]

# Halves go up on the near side and down on the far one: an odd rest pads one pixel more below and right.
_HALF: Final = 0.1

# A side that is whole must not lose a pixel to a float just below it.
_EXACT: Final = 1e-6

# To show its middle, a frame of 1 x 5000 would be resized to a million columns; past this it is squeezed.
_WIDEST: Final = 16


@dataclass(frozen=True, slots=True)
class Size:
    """Height and width in pixels."""

    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies inside an input: scaled by `gain_x`, `gain_y`, its corner at (`left_px`, `top_px`).

    The corner is negative where the input shows only the middle of the frame.
    """

    frame: Size
    input: Size
    gain_x: float
    gain_y: float
    resized: Size
    left_px: int
    top_px: int

    @classmethod
    def fit(cls, frame: Size, input_size: Size, placement: Placement = "centre") -> Self:
        """The frame laid into the input, as `placement` says.

        >>> box = Letterbox.fit(Size(720, 1280), Size(640, 640))
        >>> box.resized, box.left_px, box.top_px
        (Size(height_px=360, width_px=640), 0, 140)
        """
        match placement:
            case "centre":
                return cls._centred(frame, input_size)
            case "corner":
                return cls._cornered(frame, input_size)
            case "stretch":
                gain_x = input_size.width_px / frame.width_px
                gain_y = input_size.height_px / frame.height_px
                return cls(frame, input_size, gain_x, gain_y, input_size, 0, 0)
            case "crop":
                return cls._cropped(frame, input_size)
            case _:
                assert_never(placement)

    @classmethod
    def _centred(cls, frame: Size, input_size: Size) -> Self:
        gain = _gain_inside(frame, input_size)
        # A frame of 1 x 5000 still has to leave a row to resize into.
        resized = Size(max(round(frame.height_px * gain), 1), max(round(frame.width_px * gain), 1))
        left_px = round((input_size.width_px - resized.width_px) / 2 - _HALF)
        top_px = round((input_size.height_px - resized.height_px) / 2 - _HALF)
        # The sides are rounded each by itself, so that what was done is not quite the same along both.
        gain_x, gain_y = resized.width_px / frame.width_px, resized.height_px / frame.height_px
        return cls(frame, input_size, gain_x, gain_y, resized, left_px, top_px)

    @classmethod
    def _cornered(cls, frame: Size, input_size: Size) -> Self:
        """Source: YOLOX, `preproc` and `demo.py`: sides are cut to whole pixels, boxes come by the gain."""
        gain = _gain_inside(frame, input_size)
        resized = Size(max(int(frame.height_px * gain), 1), max(int(frame.width_px * gain), 1))
        return cls(frame, input_size, gain, gain, resized, 0, 0)

    @classmethod
    def _cropped(cls, frame: Size, input_size: Size) -> Self:
        """Source: torchvision, `Resize` to a shortest side and `CenterCrop`."""
        gain = max(input_size.height_px / frame.height_px, input_size.width_px / frame.width_px)
        resized = Size(
            _side_around(frame.height_px, gain, input_size.height_px),
            _side_around(frame.width_px, gain, input_size.width_px),
        )
        return cls(
            frame=frame,
            input=input_size,
            gain_x=resized.width_px / frame.width_px,
            gain_y=resized.height_px / frame.height_px,
            resized=resized,
            left_px=-round((resized.width_px - input_size.width_px) / 2),
            top_px=-round((resized.height_px - input_size.height_px) / 2),
        )

    @property
    def shown(self) -> Size:
        """What the input shows, padding included, in pixels of the frame; the frame where it is stretched."""
        return Size(round(self.input.height_px / self.gain_y), round(self.input.width_px / self.gain_x))

    def boxes_to_frame(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """`boxes` `[N, 4]`, x1, y1, x2, y2 of the input, as pixels of the frame, clipped to it."""
        limit = np.array([self.frame.width_px, self.frame.height_px] * 2, np.float64)
        placed = (boxes.astype(np.float64) - self._shift(2)) / self._gain(2)
        return np.clip(placed, 0.0, limit, out=placed)

    def points_to_frame(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """`points` `[..., 2]`, x, y of the input, as pixels of the frame, clipped to it."""
        limit = np.array([self.frame.width_px, self.frame.height_px], np.float64)
        placed = (points.astype(np.float64) - self._shift(1)) / self._gain(1)
        return np.clip(placed, 0.0, limit, out=placed)

    def boxes_to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """The way in: `boxes` `[N, 4]` of the frame as pixels of the input."""
        return boxes.astype(np.float64) * self._gain(2) + self._shift(2)

    def _shift(self, pairs: int) -> NDArray[np.float64]:
        return np.array([self.left_px, self.top_px] * pairs, np.float64)

    def _gain(self, pairs: int) -> NDArray[np.float64]:
        return np.array([self.gain_x, self.gain_y] * pairs, np.float64)


def size_for_aspect(frame: Size, *, longest_px: int, stride: int) -> Size:
    """The smallest input of whole strides that holds the frame with its longer side at `longest_px`.

    >>> size_for_aspect(Size(720, 1280), longest_px=640, stride=32)
    Size(height_px=384, width_px=640)
    """
    gain = longest_px / max(frame.height_px, frame.width_px)
    # Round to whole pixels first: 480.00000001 must not become 512.
    height_px, width_px = (round(side * gain) for side in (frame.height_px, frame.width_px))
    return Size(_multiple_above(height_px, stride), _multiple_above(width_px, stride))


def shrunk(size: Size, *, scale: float, stride: int) -> Size:
    """A size of whole strides whose sides are at least `scale` of what they were.

    >>> shrunk(Size(640, 640), scale=0.75, stride=32), shrunk(Size(384, 640), scale=0.5, stride=32)
    (Size(height_px=480, width_px=480), Size(height_px=192, width_px=320))
    """
    if scale == 1.0:
        return size
    return Size(
        _multiple_above(round(size.height_px * scale), stride),
        _multiple_above(round(size.width_px * scale), stride),
    )


def _gain_inside(frame: Size, input_size: Size) -> float:
    return min(input_size.height_px / frame.height_px, input_size.width_px / frame.width_px)


def _side_around(side_px: int, gain: float, input_px: int) -> int:
    """A side scaled to cover the input; cut to whole pixels, as the longer one is, and bounded."""
    return min(max(int(side_px * gain + _EXACT), input_px), _WIDEST * input_px)


def _multiple_above(value: int, stride: int) -> int:
    return max(-(-value // stride), 1) * stride
