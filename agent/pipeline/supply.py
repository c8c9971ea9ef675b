"""Where rows come from: the present and the past, each from a lane of its own. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from agent.pipeline.lane import Ask, Lane
from agent.ports import Row

_MOST_UNANSWERED: Final = 65_536
"""Beyond it what was sent before no longer says so, which consumers do not need."""


class Supply:
    """Rows above a boundary are live, the rest is backlog.

    The boundary is the outbox's newest key at the beginning of a session, and moves up when what is live
    falls behind. A row comes out at most once a session, however often the boundary moves or the backlog
    begins again: what has been taken is away, and not taken again until the outbox knows how it was settled.
    """

    def __init__(self, *, batch: int) -> None:
        self.batch = batch
        """Most rows to fetch for one `ask`."""
        self.live = Lane(batch=batch)
        self.backlog = Lane(batch=batch)
        self._turn = self.live
        self._away: set[int] = set()
        self._settled: list[int] = []
        self._unanswered: dict[int, None] = {}

    @property
    def exhausted(self) -> bool:
        """Nothing is held, and the outbox had nothing more when it was asked last."""
        return self.live.exhausted and self.backlog.exhausted

    @property
    def wanting(self) -> bool:
        """Whether the outbox should be asked."""
        return self.live.short or self.backlog.short

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
        self.live.restart(after=boundary)

    def leave_behind(self, *, newest_key: int) -> None:
        """What is live and still here becomes backlog; live is what is committed from now on."""
        boundary = max(newest_key, self.live.fetched)
        self.backlog.extend(boundary)
        self.live.restart(after=boundary)

    def ask(self) -> Ask | None:
        """What to fetch next, with `limit` = `batch`; None while there is no need. One at a time."""
        self._away.difference_update(self._settled)
        self._settled.clear()
        first, second = (self.backlog, self.live) if self._turn is self.live else (self.live, self.backlog)
        asked = first.ask() or second.ask()
        if asked is not None:
            self._turn = asked.lane
        return asked

    def add(self, rows: Sequence[Row], *, asked: Ask) -> None:
        """What was fetched. Of no use if what it is for began again meanwhile."""
        asked.lane.add(rows, asked=asked, without=self._away)
        if self.exhausted and not self._away:
            self._unanswered.clear()  # whatever was not seen again is gone

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
