"""Which tracked objects have gone over which lines, and which way."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.scene import Direction

NEAR: Final = 0.1
"""A foot nearer to a line than this, in shorter sides of its box, is still where it was.

So an object that stands on a line does not cross it with each tremble of its box; a detector's boxes tremble
by some hundredths of their sides."""


@dataclass(frozen=True, slots=True)
class LineShape:
    """Its two ends, x, y in fractions of the frame."""

    name: str
    first: tuple[float, float]
    second: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Passage:
    """The object at `index` of a frame has gone over a line; `direction` is `domain.scene.Crossing`'s."""

    index: int
    line: str
    direction: Direction


class LineWatch:
    """Remembers for each track on which side of each line it was seen last, and where.

    A track crosses a line when it is clearly on the other side of it than it was, and the way from there to
    here, taken as straight, meets the line: who walks around its end does not cross it.
    """

    def __init__(self, lines: Sequence[LineShape]) -> None:
        self._names = [line.name for line in lines]
        self._ends = np.array([(line.first, line.second) for line in lines]).reshape(-1, 2, 2)
        self._clear: dict[int, NDArray[np.float64]] = {}

    def step(
        self,
        numbers: Sequence[int],
        places: NDArray[np.float64],
        sides_px: NDArray[np.float64],
        frame_px: tuple[int, int],
    ) -> list[Passage]:
        """The crossings since the frame before, by object and line.

        `numbers` are the tracks of a frame's objects `[N]`, `places` their feet in fractions of the frame
        `[N, 2]`, `sides_px` the shorter sides of their boxes `[N]`; `frame_px` is width and height.
        """
        if not self._names or not len(numbers):
            return []
        nowhere = np.full((len(self._names), 2), np.nan)
        before = np.stack([self._clear.get(number, nowhere) for number in numbers])
        here = np.broadcast_to(places[:, None], before.shape)
        first, second = self._ends[:, 0] * frame_px, self._ends[:, 1] * frame_px
        off = _right_of(first, second, here * frame_px) / np.hypot(*(second - first).T)
        is_clear = np.abs(off) > NEAR * sides_px[:, None]
        was = _right_of(first, second, before * frame_px)
        # Which side of the way from there to here the line's ends are on: both on one, and it was not met.
        ends = [_right_of(before * frame_px, here * frame_px, end) for end in (first, second)]
        crossed = is_clear & (np.sign(was) == -np.sign(off)) & (ends[0] * ends[1] <= 0)
        after = np.where(is_clear[..., None], here, before)
        self._clear.update(zip(numbers, after, strict=True))
        return [
            Passage(index, self._names[line], "forward" if off[index, line] > 0 else "backward")
            for index, line in np.argwhere(crossed).tolist()
        ]

    def keep_only(self, numbers: Collection[int]) -> None:
        """Forget all other tracks."""
        self._clear = {number: places for number, places in self._clear.items() if number in numbers}


def _right_of(
    first: NDArray[np.float64], second: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far right of the way from `first` to `second`, times its length; y grows downwards."""
    along, off = second - first, points - first
    right: NDArray[np.float64] = along[..., 0] * off[..., 1] - along[..., 1] * off[..., 0]
    return right
