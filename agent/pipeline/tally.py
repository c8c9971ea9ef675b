"""Counts over the last minute and the last hour, for the price of an addition a frame."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import add
from typing import Final, Literal

from agent.domain.fates import NO_FATES, Fates

Span = Literal["minute", "hour"]

_NS: Final = 1_000_000_000
_STEPS: Final = 60
"""Each span is counted in so many steps: what is told may lack a sixtieth of it at the far end."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many frames were looked at in a span, and what became of their candidates."""

    frames: int = 0
    fates: Fates = NO_FATES


@dataclass(slots=True)
class _Step:
    number: int
    frames: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(Fates._fields))

    def take(self, frames: int, counts: Iterable[int]) -> None:
        self.frames += frames
        self.counts = list(map(add, self.counts, counts))


class Tally:
    """The candidates of one camera. Times are monotonic nanoseconds, and never go back."""

    def __init__(self) -> None:
        self._now = _Step(-1)
        self._seconds: deque[_Step] = deque(maxlen=_STEPS)
        self._minutes: deque[_Step] = deque(maxlen=_STEPS)

    def add(self, fates: Fates, now_ns: int) -> None:
        """A frame's."""
        second = now_ns // _NS
        if second != self._now.number:
            self._turn_to(second)
        self._now.take(1, fates)

    def counted(self, span: Span, now_ns: int) -> Counted:
        """What was added in the span that ends now."""
        self._turn_to(now_ns // _NS)
        steps, step_ns = (self._seconds, _NS) if span == "minute" else (self._minutes, 60 * _NS)
        total = _Step(0)
        for step in steps:
            if step.number > now_ns // step_ns - _STEPS:
                total.take(step.frames, step.counts)
        return Counted(total.frames, Fates(*total.counts))

    def _turn_to(self, second: int) -> None:
        """Let what is counted so far go into both spans."""
        done, self._now = self._now, _Step(second)
        if not done.frames:
            return
        for steps, number in ((self._seconds, done.number), (self._minutes, done.number // 60)):
            if not steps or steps[-1].number != number:
                steps.append(_Step(number))
            steps[-1].take(done.frames, done.counts)
