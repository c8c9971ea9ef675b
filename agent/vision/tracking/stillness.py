"""Which tracked objects stay where they are."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.overlap import overlaps

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
        for number, box in zip(numbers, boxes, strict=True):
            place, since_ns = self._places.get(number, (box, at_ns))
            if overlaps(place[None], box[None])[0, 0] < IN_PLACE:
                place, since_ns = box, at_ns
            self._places[number] = place, since_ns
            moves.append(at_ns - since_ns < self._after_ns)
        return moves

    def keep_only(self, numbers: Collection[int]) -> None:
        """Forget all other tracks."""
        self._places = {number: place for number, place in self._places.items() if number in numbers}
