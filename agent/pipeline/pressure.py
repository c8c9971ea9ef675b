"""Who suffers from overload: cameras whose frames grow old, or that lose them to less important ones."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.domain.ids import SourceName
from agent.pipeline.ladder import Complaint
from agent.pipeline.lines import Demand

WINDOW_S: Final = 5.0
"""Lost frames are counted over so long: a camera of two frames a second has ten then."""

_LATE: Final = 0.5
"""Of the staleness budget: half of it is left for inference, and for the rungs to take effect."""
_LEAST_LATE_S: Final = 0.25
"""However small the budget, unless it is smaller still: a frame may wait for the end of one run."""
_LOST: Final = 0.1
"""Of a camera's frames; fewer are the unevenness of its own clock and the lanes'."""
_LEAST_LOST: Final = 3
_AT_EASE: Final = 0.5
"""Of those limits: below it a rung can be given back without being needed again at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The most important camera of each kind of suffering, and whether all are far from either."""

    late: Complaint | None
    robbed: Complaint | None
    at_ease: bool


@dataclass(frozen=True, slots=True)
class _Loss:
    name: SourceName
    priority: int
    wanted: float
    lost: float

    @property
    def share(self) -> float:
        return self.lost / self.wanted if self.wanted > 0 and self.lost >= 1 else 0.0


class Pressure:
    """Judges what the scheduler tells of its cameras, look after look.

    Cameras that wait for their turn to be captured (`overflow: wait`) neither grow old nor lose frames, so
    they never complain. A camera without less important ones beside it may lose frames, as long as those that
    are served are fresh: that its model is slower than it is what `newest` is for, and nothing that is shed
    would help.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[SourceName, Demand]]] = deque()

    def forget(self) -> None:
        """What was counted so far says nothing of now: the rung has changed."""
        self._looks.clear()

    def look(self, demands: Mapping[SourceName, Demand], now_s: float) -> Verdict:
        """Called about once a second."""
        self._looks.append((now_s, demands))
        while len(self._looks) > 2 and self._looks[1][0] <= now_s - WINDOW_S:
            self._looks.popleft()
        waits = {name: _lateness(demand) for name, demand in demands.items() if demand.overflow == "newest"}
        losses = self._losses()
        late = [name for name, lateness in waits.items() if lateness >= 1]
        robbed = [loss for loss in losses if loss.share > _LOST and loss.lost >= _LEAST_LOST]
        return Verdict(
            late=_foremost(
                Complaint(demands[name].priority, f"{name}'s frames wait {demands[name].waited_s:.1f} s")
                for name in late
            ),
            robbed=_foremost(
                Complaint(
                    loss.priority,
                    f"{loss.name} loses {loss.share:.0%} of its frames to less important cameras",
                )
                for loss in robbed
            ),
            at_ease=all(lateness < _AT_EASE for lateness in waits.values())
            and all(loss.share <= _LOST * _AT_EASE or loss.lost < _LEAST_LOST for loss in losses),
        )

    def _losses(self) -> list[_Loss]:
        """Of cameras beside which less important ones were served."""
        (then_s, then), (now_s, now) = self._looks[0], self._looks[-1]
        taken = {
            name: demand.flow.taken - then[name].flow.taken for name, demand in now.items() if name in then
        }
        losses = []
        for name, count in taken.items():
            demand, before = now[name], then[name].flow
            lesser = (count for other, count in taken.items() if now[other].priority < demand.priority)
            if demand.overflow == "wait" or not any(lesser):
                continue
            wanted: float = demand.flow.offered - before.offered
            for cause in ("degraded", "unhealthy"):
                wanted -= demand.flow.dropped.get(cause, 0) - before.dropped.get(cause, 0)
            if demand.interval_s:
                wanted = min(wanted, (now_s - then_s) / demand.interval_s)
            losses.append(_Loss(name, demand.priority, wanted, max(wanted - count, 0.0)))
        return losses


def _lateness(demand: Demand) -> float:
    """How long a frame of it waited, as a fraction of what is too long."""
    return demand.waited_s / max(demand.budget_s * _LATE, min(demand.budget_s, _LEAST_LATE_S))


def _foremost(complaints: Iterable[Complaint]) -> Complaint | None:
    return max(complaints, key=lambda complaint: complaint.priority, default=None)
