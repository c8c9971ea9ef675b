"""How much boxes overlap: intersection over union."""

import numpy as np
from numpy.typing import NDArray


def overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union, `[len(a), len(b)]`, of x1, y1, x2, y2; 0 where no box has an area."""
    return paired_overlaps(a[:, None], b[None])


def paired_overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same of each box with its partner: `[…, 4]` and `[…, 4]` give `[…]`."""
    corner = np.maximum(a[..., :2], b[..., :2])
    sides: NDArray[np.float64] = np.minimum(a[..., 2:], b[..., 2:]) - corner
    np.maximum(sides, 0.0, out=sides)
    intersection = sides[..., 0] * sides[..., 1]
    union = _areas(a) + _areas(b) - intersection
    over = np.zeros_like(intersection)
    np.divide(intersection, union, out=over, where=union > 0)
    return over


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return areas
