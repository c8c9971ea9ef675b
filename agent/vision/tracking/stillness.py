"""Which tracked objects stay where they are."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.overlap import paired_overlaps

IN_PLACE: Final = 0.5
"""Overlap (IoU) of a box with the one that a track had at its place: half as much, and it has left it."""


class Stillness:
    """Remembers for each track the box with which it came to its place, and when that was."""

    def __init__(self, *, after_s: float) -> None:
        self._after_ns = int(after_s * 1e9)
        self._places: dict[int, tuple[NDArray[np.float64], int]] = {}

    def step(self, numbers: Sequence[int], boxes: NDArray[np.float64], at_ns: int) -> list[bool]:
        """Whether each of a frame's tracks moves; who has just appeared does.

        `boxes` `[N, 4]` are x1, y1, x2, y2 in a unit that stays the same.
        """
        moves = []
        places = [
            self._places.setdefault(number, (box, at_ns)) for number, box in zip(numbers, boxes, strict=True)
        ]
        came = np.array([box for box, _ in places]).reshape(-1, 4)
        has_left = (paired_overlaps(came, boxes) < IN_PLACE).tolist()
        for number, box, (_, since_ns), left in zip(numbers, boxes, places, has_left, strict=True):
            if left:
                self._places[number] = box, at_ns
            moves.append(left or at_ns - since_ns < self._after_ns)
        return moves

    def keep_only(self, numbers: Collection[int]) -> None:
        """Forget all other tracks."""
        self._places = {number: place for number, place in self._places.items() if number in numbers}
