"""What a sensor said since its last message, in no more memory than that message will need."""

from dataclasses import dataclass
from typing import Final, Literal

from agent.contract.payloads import ScoreValue
from agent.domain.reading import Reading
from agent.domain.stamp import Stamp

MOST_TOLD: Final = 1000
"""Readings or scores in one message: some 120 kB, below every broker's usual limit and our own."""


@dataclass(slots=True)
class _Summary:
    """The readings of one name."""

    last: Reading
    good: int = 0
    total: float = 0.0


class Gathered:
    """Readings of one sensor, of which `which` are told: all, or per name the last one or the mean.

    A mean is of the good readings, at the last one's time; where there is none, the last reading speaks for
    itself. Only what is told is kept: an hour of a fast sensor would fill the memory of a small board.
    """

    def __init__(self, *, began_ns: int, which: Literal["last", "mean", "all"]) -> None:
        self.began_ns = began_ns
        self.last_at: Stamp | None = None
        self.scores: list[ScoreValue] = []
        self._which = which
        self._all: list[Reading] = []
        self._by_name: dict[str, _Summary] = {}

    def add(self, reading: Reading) -> None:
        """One more, not older than those before it."""
        self.last_at = reading.at
        if self._which == "all":
            self._all.append(reading)
            return
        summary = self._by_name.setdefault(reading.name, _Summary(reading))
        summary.last = reading
        if reading.quality == "good":
            summary.good += 1
            summary.total += reading.value

    @property
    def full(self) -> bool:
        """A message has to go out now, however long the reporting period is."""
        return max(len(self._all), len(self.scores)) >= MOST_TOLD

    def readings(self) -> list[Reading]:
        """What is told of them."""
        if self._which == "all":
            return self._all
        if self._which == "last":
            return [summary.last for summary in self._by_name.values()]
        return [_mean(summary) for summary in self._by_name.values()]


def _mean(summary: _Summary) -> Reading:
    last = summary.last
    if not summary.good:
        return last
    return Reading(last.name, summary.total / summary.good, last.unit, last.at)
