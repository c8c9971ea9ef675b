"""Percentiles of a stream in bounded memory, with a bounded relative error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

RELATIVE_ERROR: Final = 0.01

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = math.log(_GAMMA)
_LEAST_S: Final = 1e-6
_MOST_S: Final = 1e6


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of all observations since start, in seconds: percentiles within 1 % of the true ones, `max_s` exact."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


class Sketch:
    """A histogram whose bins grow by 2 % each: at most 1,383 of them between a microsecond and twelve days.

    What is shorter or longer is counted at the ends. `bins` counts by index: what is above gamma^(index-1),
    up to gamma^index. Not safe between threads.

    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
    guarantees", PVLDB 12 (2019), section 2.
    """

    __slots__ = ("bins", "count", "max_s")

    def __init__(self) -> None:
        self.bins: dict[int, int] = {}
        self.count = 0
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        index = math.ceil(math.log(min(max(seconds, _LEAST_S), _MOST_S)) / _LOG_GAMMA)
        self.bins[index] = self.bins.get(index, 0) + 1
        self.count += 1
        self.max_s = max(self.max_s, seconds)

    @classmethod
    def merged(cls, sketches: Iterable[Self]) -> Self:
        """One sketch of everything that went into `sketches`, with the same error."""
        whole = cls()
        for sketch in sketches:
            for index, count in sketch.bins.items():
                whole.bins[index] = whole.bins.get(index, 0) + count
            whole.count += sketch.count
            whole.max_s = max(whole.max_s, sketch.max_s)
        return whole

    def percentiles(self) -> Percentiles | None:
        """None where nothing was added."""
        if not self.count:
            return None
        p50_s, p95_s, p99_s = (self._quantile(q) for q in (0.50, 0.95, 0.99))
        return Percentiles(count=self.count, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s, max_s=self.max_s)

    def _quantile(self, q: float) -> float:
        rank = q * (self.count - 1)
        seen = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen > rank:
                # The middle of the bin, in the sense that both its ends are equally far in proportion.
                return min(2 * _GAMMA**index / (_GAMMA + 1), self.max_s)
        return self.max_s
