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
    would come an hour late. What the broker has had and is to get again goes with the backlog, whenever it
    was made. A row comes out at most once a session, however often a boundary moves or the lanes begin again:
    what has been taken is away, and not taken again until the outbox knows how it was settled.
    """

    def __init__(self, *, batch: int) -> None:
        self.batch = batch
        """Most rows to fetch for one `ask`."""
        self.boundary = 0
        """The newest key of what is from before the session; what is above was made in it."""
        self.live = Lane("live", batch=batch)
        self.late = Lane("late", batch=batch)
        self.backlog = Lane("backlog", batch=batch)
        self._lanes = deque([self.live, self.late, self.backlog])
        self._away: set[int] = set()
        self._new_away: set[int] = set()
        self._new_settled = 0
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

    def begin(self, *, newest_key: int, resumes: bool) -> None:
        """A new session. `resumes`: it goes on with the one before, and the boundary stays where it was."""
        if not resumes:
            self.boundary = max(newest_key, self.live.fetched)
            self._new_settled = 0
        self.start_over(newest_key=newest_key)

    def end(self, *, unanswered: Iterable[int]) -> None:
        """The session is over: `unanswered` was on its way, and nothing is any more."""
        self._unanswered.update(dict.fromkeys(unanswered))
        for key in list(self._unanswered)[: max(0, len(self._unanswered) - _MOST_UNANSWERED)]:
            del self._unanswered[key]
        self._away.clear()
        self._new_away.clear()
        self._settled.clear()
        self.start_over(newest_key=0)

    def start_over(self, *, newest_key: int) -> None:
        """Look at everything again from the oldest on: rows may wait that did not when they were passed.

        What was made in this session and is still here becomes late; live is what is committed from now on.
        """
        newest_key = max(newest_key, self.live.fetched)
        self.backlog.restart(after=0, upto=newest_key)
        self.late.restart(after=self.boundary, upto=newest_key)
        self.live.restart(after=newest_key)

    def leave_behind(self, *, newest_key: int) -> None:
        """What is live and still here becomes late; live is what is committed from now on."""
        newest_key = max(newest_key, self.live.fetched)
        self.late.extend(newest_key)
        self.live.restart(after=newest_key)

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
        lane = asked.lane
        without = {row.key for row in rows if row.key in self._away or not self._belongs(row, lane)}
        lane.add(rows, asked=asked, without=without)
        if self.exhausted and not self._away:
            self._unanswered.clear()  # whatever was not seen again is gone

    def look_again(self) -> None:
        """A disk that gave nothing for a while said so as if there were nothing: ask for every lane anew."""
        for lane in self._lanes:
            if lane.exhausted:
                lane.expect_more()

    def take(self, lane: Lane) -> tuple[Row, bool]:
        """The next row of `lane`, and whether it was sent before in this process without a known outcome."""
        row = lane.take()
        self._away.add(row.key)
        if lane is not self.backlog:
            self._new_away.add(row.key)
        if self._unanswered and row.key in self._unanswered:
            del self._unanswered[row.key]
            return row, True
        return row, False

    def settled(self, keys: Iterable[int]) -> None:
        """The outbox has been told of these: what it is asked for from now on is without them."""
        keys = list(keys)
        self._settled.extend(keys)
        before = len(self._new_away)
        self._new_away.difference_update(keys)
        self._new_settled += before - len(self._new_away)

    def new_rows(self, *, newest_key: int) -> int:
        """How many rows wait, those on their way included, that were made in this session.

        While more of them wait than are held here, those count as well that the outbox has dropped since.
        """
        held = len(self.live) + len(self.late) + len(self._new_away)
        if self.live.complete and self.late.complete:
            return held
        return max(held, newest_key - self.boundary - self._new_settled)

    def _belongs(self, row: Row, lane: Lane) -> bool:
        if lane is self.backlog:
            return row.again or row.key <= self.boundary
        return lane is self.live or not row.again
