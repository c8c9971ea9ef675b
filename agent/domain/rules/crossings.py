"""How often a camera's lines were crossed within the last hour, so that each question costs the same."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from agent.domain.scene import Crossing, Direction

MOST_WITHIN_S: Final = 3600.0
"""Older crossings are forgotten."""

STEP_S: Final = 0.1
"""Crossings of one kind within so much time are counted as one moment, that of the last of them. So an hour
is at most 36,000 moments, however busy a line is, and no crossing of it is forgotten."""

_KEPT_NS: Final = int(MOST_WITHIN_S * 1e9)
_STEP_NS: Final = int(STEP_S * 1e9)

_Kind = tuple[str, str | None, Direction | None]
"""A line, and of which class and which way, None: any."""


class Crossings:
    """Of one camera, each line for itself. Times are monotonic nanoseconds that never go back."""

    def __init__(self) -> None:
        self._tallies: dict[_Kind, _Tally] = {}

    def add(self, crossings: Sequence[Crossing], at_ns: int) -> None:
        """Lines were crossed now."""
        for one in crossings:
            for class_name in (one.class_name, None):
                for direction in (one.direction, None):
                    kind = one.line, class_name, direction
                    tally = self._tallies.get(kind)
                    if tally is None:
                        tally = self._tallies[kind] = _Tally()
                    tally.add(at_ns)

    def count(self, line: str, class_name: str | None, direction: Direction | None, *, since_ns: int) -> int:
        """Those from `since_ns` on, which is at most an hour ago."""
        tally = self._tallies.get((line, class_name, direction))
        return 0 if tally is None else tally.since(since_ns)


class _Tally:
    """Moments in their order, and how many crossings there were before each."""

    def __init__(self) -> None:
        self._moments_ns = array("q")
        self._before = array("q")
        self._total = 0
        self._step_until_ns = 0

    def add(self, at_ns: int) -> None:
        if self._moments_ns and at_ns < self._step_until_ns:
            self._moments_ns[-1] = at_ns
        else:
            self._forget(at_ns - _KEPT_NS)
            self._moments_ns.append(at_ns)
            self._before.append(self._total)
            self._step_until_ns = at_ns + _STEP_NS
        self._total += 1

    def since(self, since_ns: int) -> int:
        place = bisect_left(self._moments_ns, since_ns)
        return self._total - self._before[place] if place < len(self._before) else 0

    def _forget(self, before_ns: int) -> None:
        """Where at least half is too old, for then each moment is moved once at most."""
        if self._moments_ns and self._moments_ns[len(self._moments_ns) // 2] < before_ns:
            gone = bisect_left(self._moments_ns, before_ns)
            del self._moments_ns[:gone]
            del self._before[:gone]
