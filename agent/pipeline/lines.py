"""What the scheduler knows of each source: how it is to be served, and how it fares."""

from dataclasses import dataclass

from agent.domain.frame import Frame
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.mailbox import Mailbox, MailboxStatistics, Overflow
from agent.ports import AnomalyModel, DetectorModel


@dataclass(frozen=True, slots=True)
class Demand:
    """What a served camera asks for, and how it fares.

    `interval_s`: it is served at most once in that time, 0: no limit. `budget_s`: an older frame is dropped.
    `resizable`: its model can run at a smaller input. `waited_s`: the longest that it waited for its turn
    since the last look; a frame that takes the place of another waits on in its stead.
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
    served: float = 0.0
    due_ns: int = 0
    waited_ns: int = 0

    @property
    def interval_ns(self) -> int:
        return self.min_interval_ns * max(self.mailbox.keep_one_of, 1)

    @property
    def is_held_back(self) -> bool:
        """Paused while load is shed; one that waits loses nothing by it."""
        return self.mailbox.keep_one_of == 0

    @property
    def stride(self) -> float:
        """What one service costs. One that waits is slowed by a smaller share: it lets no frame go."""
        slowed = self.mailbox.keep_one_of if self.mailbox.overflow == "wait" else 1
        return max(slowed, 1) / self.weight

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
        since_ns = self.mailbox.waiting_since_ns
        if since_ns is not None:
            self.waited_ns = max(self.waited_ns, now_ns - max(since_ns, self.due_ns))


@dataclass(slots=True)
class SensorLine:
    """A sensor: its mailbox, what serves it, and by when. Under the scheduler's lock."""

    mailbox: Mailbox[SensorWindow]
    model: AnomalyModel
    deadline_ns: int
