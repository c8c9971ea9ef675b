"""What the scheduler knows of each source: how it is to be served, and how it fares."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agent.domain.frame import Frame
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.mailbox import Mailbox, MailboxStatistics, Overflow
from agent.ports import AnomalyModel, DetectorModel

_ENOUGH_ARRIVALS: Final = 3
_ENDED_INTERVALS: Final = 3
_ENDED_NS: Final = 1_000_000_000
"""A camera that has been silent for so long has ended, or is being opened anew: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a served camera asks for, and how it fares.

    `interval_s`: it is served at most once in that time, 0: no limit. `budget_s`: an older frame is dropped.
    `resizable`: its model can run at a smaller input. `waited_s`: the longest that one of its frames
    waited for its turn since the last look; one that a newer frame replaced waits no more.
    """

    priority: int
    overflow: Overflow
    interval_s: float
    budget_s: float
    resizable: bool
    waited_s: float
    flow: MailboxStatistics


@dataclass(slots=True)
class CameraLine:
    """A camera: its mailbox, what serves it, and how much of that it may have. Under the scheduler's lock."""

    mailbox: Mailbox[Frame]
    model: DetectorModel | None
    thresholds: Thresholds
    weight: int
    max_staleness_ns: int
    min_interval_ns: int
    asked_interval_ns: int | None = None
    """In place of the other, while somebody asks for it."""
    served: float = 0.0
    due_ns: int = 0
    waited_ns: int = 0

    @property
    def interval_ns(self) -> int:
        own_ns = self.min_interval_ns if self.asked_interval_ns is None else self.asked_interval_ns
        return own_ns * max(self.mailbox.keep_one_of, 1)

    @property
    def is_held_back(self) -> bool:
        """Paused while load is shed; one that waits loses nothing by it."""
        return self.mailbox.keep_one_of == 0

    @property
    def stride(self) -> float:
        """What one service costs. One that waits is slowed by a smaller share: it lets no frame go."""
        slowed = self.mailbox.keep_one_of if self.mailbox.overflow == "wait" else 1
        return max(slowed, 1) / self.weight

    def next_ns(self, now_ns: int) -> int | None:
        """When its next frame may have to be served, at the earliest; None: none is known to come.

        An arrival is foreseen by the shorter of the last intervals; one in eight may be a freak.
        """
        if self.mailbox.peek() is not None:
            return max(now_ns, self.due_ns)
        arrivals = self.mailbox.arrivals_ns
        if not arrivals:
            return None
        silent_ns = now_ns - arrivals[-1]
        if len(arrivals) < _ENOUGH_ARRIVALS:
            return now_ns if silent_ns < _ENDED_NS else None
        intervals = sorted(later - earlier for earlier, later in pairwise(arrivals))
        interval_ns = intervals[len(intervals) // 8]
        if silent_ns > max(_ENDED_INTERVALS * interval_ns, _ENDED_NS):
            return None
        return max(arrivals[-1] + interval_ns, self.due_ns, now_ns)

    def demand(self, waited_s: float) -> Demand:
        """How it fares, having waited so long; not under the lock, which its mailbox takes."""
        return Demand(
            priority=self.weight - 1,
            overflow=self.mailbox.overflow,
            interval_s=self.interval_ns / 1e9,
            budget_s=self.max_staleness_ns / 1e9,
            resizable=self.model is not None and self.model.resizable,
            waited_s=waited_s,
            flow=self.mailbox.statistics(),
        )

    def note_wait(self, now_ns: int) -> None:
        frame = self.mailbox.peek()
        if frame is not None:
            self.waited_ns = max(self.waited_ns, now_ns - max(frame.captured.monotonic_ns, self.due_ns))


@dataclass(slots=True)
class SensorLine:
    """A sensor: its mailbox, what serves it, and by when. Under the scheduler's lock."""

    mailbox: Mailbox[SensorWindow]
    model: AnomalyModel
    deadline_ns: int
