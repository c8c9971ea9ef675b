"""Whether a polygon's corners make a usable outline."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_GRID: Final = 2**30
"""Steps of a coordinate: a millionth of a pixel, and products of two differences still fit 64 bits."""


def has_area(corners: Sequence[tuple[float, float]]) -> bool:
    """Whether they do not all lie on one line. Coordinates in 0..1.

    >>> has_area([(0, 0), (1, 0), (1, 1)]), has_area([(0, 0), (1, 1), (0.5, 0.5)])
    (True, False)
    """
    points = _on_grid(corners)
    sides = points - points[0]
    far = sides[np.abs(sides).sum(axis=1).argmax()]
    off = np.abs(far[0] * sides[:, 1] - far[1] * sides[:, 0]).max()
    return bool(off > 1e-9 * _GRID * _GRID)


def first_crossing(corners: Sequence[tuple[float, float]]) -> tuple[int, int] | None:
    """Numbers, from 0, of the first two edges that cross; edge n leads from corner n to the next one.

    Edges that merely touch do not cross: what is inside is certain all the same.

    >>> first_crossing([(0, 0), (1, 1), (1, 0), (0, 1)])
    (0, 2)
    >>> first_crossing([(0, 0), (1, 0), (1, 1), (0, 1)])
    """
    begin = _on_grid(corners)
    end = np.roll(begin, -1, axis=0)
    before, after = _sides(begin, end, begin), _sides(begin, end, end)
    parted = (before * after) < 0
    crossing = np.argwhere(np.triu(parted & parted.T))
    return (int(crossing[0, 0]), int(crossing[0, 1])) if len(crossing) else None


def _on_grid(corners: Sequence[tuple[float, float]]) -> NDArray[np.int64]:
    grid: NDArray[np.int64] = np.rint(np.array(corners, np.float64) * _GRID).astype(np.int64)
    return grid


def _sides(begin: NDArray[np.int64], end: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.int64]:
    """`[edges, points]`: on which side of the edge's line a point is, -1 or 1, or 0 on it; exact."""
    along = (end - begin)[:, None]
    off = points[None] - begin[:, None]
    sides: NDArray[np.int64] = np.sign(along[..., 0] * off[..., 1] - along[..., 1] * off[..., 0])
    return sides
