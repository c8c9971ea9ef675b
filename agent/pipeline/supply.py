"""Where rows come from: the present, the past and what lies between, each from a lane of its own. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from agent.pipeline.lane import Ask, Lane
from agent.ports import Row

_MOST_UNANSWERED: Final = 65_536
"""Beyond it what was sent before no longer says so, which consumers do not need."""


class Supply:
    """Rows up to the outbox's newest key at the beginning of a session are its backlog, those above are live.

    When what is live falls behind, it becomes late: a lane of its own, since behind a backlog of an hour it
    would come an hour late. A row comes out at most once a session, however often a boundary moves or the
    backlog begins again: what has been taken is away, and not taken again until the outbox knows how it was
    settled.
    """

    def __init__(self, *, batch: int) -> None:
        self.batch = batch
        """Most rows to fetch for one `ask`."""
        self.live = Lane(batch=batch)
        self.late = Lane(batch=batch)
        self.backlog = Lane(batch=batch)
        self._lanes = deque([self.live, self.late, self.backlog])
        self._away: set[int] = set()
        self._settled: list[int] = []
        self._unanswered: dict[int, None] = {}

    @property
    def exhausted(self) -> bool:
        """Nothing is held, and the outbox had nothing more when it was asked last."""
        return all(lane.exhausted for lane in self._lanes)

    @property
    def wanting(self) -> bool:
        """Whether the outbox should be asked."""
        return any(lane.short for lane in self._lanes)

    def end(self, *, unanswered: Iterable[int]) -> None:
        """The session is over: `unanswered` was on its way, and nothing is any more."""
        self._unanswered.update(dict.fromkeys(unanswered))
        for key in list(self._unanswered)[: max(0, len(self._unanswered) - _MOST_UNANSWERED)]:
            del self._unanswered[key]
        self._away.clear()
        self._settled.clear()
        self.start_over(newest_key=0)

    def start_over(self, *, newest_key: int) -> None:
        """Look at everything again from the oldest on: rows may wait that did not when they were passed."""
        boundary = max(newest_key, self.live.fetched)
        self.backlog.restart(after=0, upto=boundary)
        self.late.restart(after=boundary, upto=boundary)
        self.live.restart(after=boundary)

    def leave_behind(self, *, newest_key: int) -> None:
        """What is live and still here becomes late; live is what is committed from now on."""
        boundary = max(newest_key, self.live.fetched)
        self.late.extend(boundary)
        self.live.restart(after=boundary)

    def ask(self) -> Ask | None:
        """What to fetch next, with `limit` = `batch`; None while there is no need. One at a time."""
        self._away.difference_update(self._settled)
        self._settled.clear()
        for _ in range(len(self._lanes)):
            self._lanes.rotate(-1)
            asked = self._lanes[-1].ask()
            if asked is not None:
                return asked
        return None

    def add(self, rows: Sequence[Row], *, asked: Ask) -> None:
        """What was fetched. Of no use if what it is for began again meanwhile."""
        asked.lane.add(rows, asked=asked, without=self._away)
        if self.exhausted and not self._away:
            self._unanswered.clear()  # whatever was not seen again is gone

    def look_again(self) -> None:
        """A disk that gave nothing for a while said so as if there were nothing."""
        for lane in self._lanes:
            if lane.exhausted:
                lane.expect_more()

    def take(self, lane: Lane) -> tuple[Row, bool]:
        """The next row of `lane`, and whether it was sent before in this process without a known outcome."""
        row = lane.take()
        self._away.add(row.key)
        if self._unanswered and row.key in self._unanswered:
            del self._unanswered[row.key]
            return row, True
        return row, False

    def settled(self, keys: Iterable[int]) -> None:
        """The outbox has been told of these: what it is asked for from now on is without them."""
        self._settled.extend(keys)

    def live_since_ns(self) -> int | None:
        """When the live row that has waited longest was committed; None where none waits."""
        return min((row.committed_ns for row in self.live.heads()), default=None)
