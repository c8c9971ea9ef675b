"""Which objects stand in which zones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

EDGE: Final = 1e-9
"""What is no farther from an edge than this lies on it, as a fraction of the frame: far below a pixel."""


# Points times edges, so that their numbers stay within a core's second-level cache.
_BLOCK: Final = 16_384


@dataclass(frozen=True, slots=True)
class ZoneShape:
    """A polygon `[corners, 2]` in fractions of the frame, and whom it holds for; `classes` None: for all."""

    name: str
    corners: NDArray[np.float64]
    classes: frozenset[str] | None = None
    min_confidence: float = 0.0
    min_side_px: float = 0.0


def feet(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where objects stand, `[N, 2]`: the middle of the lower side of x1, y1, x2, y2."""
    return np.stack(((boxes[:, 0] + boxes[:, 2]) / 2.0, boxes[:, 3]), axis=1)


class ZoneMap:
    """All zones of a camera, which are looked at together."""

    def __init__(self, zones: Sequence[ZoneShape]) -> None:
        self._zones = tuple(zones)
        self._outlines = Outlines([zone.corners for zone in zones])

    def standing(
        self,
        places: NDArray[np.float64],
        *,
        sides_px: NDArray[np.float64],
        confidence: NDArray[np.float32],
        classes: Sequence[str],
    ) -> NDArray[np.bool_]:
        """`[zones, N]`: whether an object stands in a zone.

        `places` are feet `[N, 2]` in fractions of the frame, `sides_px` the shorter sides of boxes `[N]`.
        """
        stands = self._outlines.around(places)
        for row, zone in zip(stands, self._zones, strict=True):
            np.logical_and(row, confidence >= zone.min_confidence, out=row)
            np.logical_and(row, sides_px >= zone.min_side_px, out=row)
            if zone.classes is not None:
                np.logical_and(row, [name in zone.classes for name in classes], out=row)
        return stands


class Outlines:
    """Polygons, each an array `[corners, 2]`."""

    def __init__(self, polygons: Sequence[NDArray[np.float64]]) -> None:
        self._count = len(polygons)
        if polygons:
            self._begin = np.concatenate(polygons)
            self._end = np.concatenate([np.roll(each, -1, axis=0) for each in polygons])
            self._along = self._end - self._begin
            self._firsts = np.cumsum([0, *(len(each) for each in polygons[:-1])])
            self._squared = np.maximum((self._along**2).sum(axis=1), 1e-300)

    def around(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """`[polygons, N]`: whether a point lies in a polygon or on its edge; what it encloses twice is out.

        Source: Shimrat, "Algorithm 112: Position of point relative to polygon", 1962: a ray to the right
        crosses the outline an odd number of times.
        """
        told = np.zeros((self._count, len(points)), np.bool_)
        if self._count:
            block = max(_BLOCK // len(self._along), 1)
            for start in range(0, len(points), block):
                told[:, start : start + block] = self._around(points[start : start + block]).T
        return told

    def _around(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same, `[N, polygons]`, for few points."""
        along = self._along
        x, y = points[:, :1] - self._begin[:, 0], points[:, 1:] - self._begin[:, 1]
        # Above one end of the edge and not the other: a ray through a corner meets one of its two edges.
        # Their own numbers are compared, not differences that are rounded: so both edges of a corner agree.
        straddled = (points[:, 1:] < self._begin[:, 1]) != (points[:, 1:] < self._end[:, 1])
        left_of_edge = (along[:, 0] * y > along[:, 1] * x) == (along[:, 1] > 0)
        odd = np.logical_xor.reduceat(straddled & left_of_edge, self._firsts, axis=1)
        reach = np.clip((x * along[:, 0] + y * along[:, 1]) / self._squared, 0.0, 1.0)
        on = np.hypot(x - reach * along[:, 0], y - reach * along[:, 1]) <= EDGE
        inside: NDArray[np.bool_] = odd | np.logical_or.reduceat(on, self._firsts, axis=1)
        return inside
