"""Which objects stand in which zones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

EDGE: Final = 1e-9
"""What is no farther from an edge than this lies on it, as a fraction of the frame: far below a pixel."""


@dataclass(frozen=True, slots=True)
class ZoneShape:
    """A polygon `[corners, 2]` in fractions of the frame, and whom it holds for; `classes` None: for all."""

    name: str
    corners: NDArray[np.float64]
    excludes: bool = False
    classes: frozenset[str] | None = None
    min_confidence: float = 0.0
    min_side_px: float = 0.0


def feet(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where objects stand, `[N, 2]`: the middle of the lower side of x1, y1, x2, y2."""
    return np.stack(((boxes[:, 0] + boxes[:, 2]) / 2.0, boxes[:, 3]), axis=1)


def standing(
    zones: Sequence[ZoneShape],
    *,
    places: NDArray[np.float64],
    sides_px: NDArray[np.float64],
    confidence: NDArray[np.float32],
    classes: Sequence[str],
) -> NDArray[np.bool_]:
    """`[zones, N]`: whether an object stands in a zone.

    `places` are feet `[N, 2]` in fractions of the frame, `sides_px` the shorter sides of boxes `[N]`.
    """
    stands = np.zeros((len(zones), len(places)), np.bool_)
    for index, zone in enumerate(zones):
        counts = (confidence >= zone.min_confidence) & (sides_px >= zone.min_side_px)
        if zone.classes is not None:
            counts &= [name in zone.classes for name in classes]
        if counts.any():
            stands[index] = counts & inside(places, zone.corners)
    return stands


def inside(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`[N]`: whether a point lies in a polygon or on an edge of it; what it encloses twice is outside.

    Source: Shimrat, "Algorithm 112: Position of point relative to polygon", 1962: a ray to the right crosses
    the outline an odd number of times.
    """
    begin, end = corners, np.roll(corners, -1, axis=0)
    along = end - begin
    x, y = points[:, :1] - begin[:, 0], points[:, 1:] - begin[:, 1]
    # Above one end of the edge and not above the other: a ray through a corner meets one of its two edges.
    straddled = (y < 0) != (y < along[:, 1])
    off = along[:, 0] * y - along[:, 1] * x
    left_of_edge = (off > 0) == (along[:, 1] > 0)
    odd: NDArray[np.bool_] = (straddled & left_of_edge).sum(axis=1) % 2 == 1
    return odd | _on_edge(x, y, along)


def _on_edge(x: NDArray[np.float64], y: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`[N]`: nearer than `EDGE` to any edge; `x`, `y` `[N, edges]` are seen from where each edge begins."""
    squared = np.maximum((along**2).sum(axis=1), 1e-300)
    reach = np.clip((x * along[:, 0] + y * along[:, 1]) / squared, 0.0, 1.0)
    distance = np.hypot(x - reach * along[:, 0], y - reach * along[:, 1])
    on: NDArray[np.bool_] = (distance <= EDGE).any(axis=1)
    return on
