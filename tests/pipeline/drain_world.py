"""A drain with an outbox and a broker around it, whose time and answers a test decides on."""

from dataclasses import replace
from random import Random
from typing import get_args

from agent.pipeline.drain import Drain
from agent.pipeline.lane import PRIORITIES, Ask, LaneName
from agent.pipeline.parcel import Parcel
from agent.ports import Priority, Row
from tests.fakes.rows import row_of

SECOND = 1_000_000_000
"""In the unit of all times here."""


class World:
    """A drain between an outbox of a few lines and a broker that answers when it is told to."""

    def __init__(self, *, window: int, per_s: float | None = None, batch: int = 4) -> None:
        self.drain = Drain(
            window=window, most_bytes=1_000_000, batch=batch, random=Random(1), backlog_per_s=per_s
        )
        self.window = window
        self.now_ns = SECOND
        self.newest = 0
        self.began_after = 0
        self.known = 0
        self.rows: dict[int, Row] = {}
        self.taken: list[int] = []
        self.fetching: tuple[Ask, list[Row]] | None = None
        self.in_flight: list[tuple[int, Parcel]] = []
        self.tickets = 0
        self.unsettled: list[int] = []
        self.session: list[Parcel] = []
        self.sent_at: list[tuple[int, Parcel]] = []
        self.unknown: set[int] = set()

    def commit(self, priority: Priority = "detection", count: int = 1) -> None:
        for _ in range(count):
            self.newest += 1
            self.rows[self.newest] = replace(row_of(self.newest, priority), committed_ns=self.now_ns)
        self.drain.supply.live.expect_more()

    def hear(self) -> None:
        """What the loop knows of the newest key lags behind what it may fetch."""
        self.known = self.newest

    def begin(self, *, backlog_from_ns: int = 0, resumes: bool = False) -> None:
        self.hear()
        self.drain.begin(
            receive_maximum=65_535,
            birth=(),
            newest_key=self.known,
            backlog_from_ns=backlog_from_ns,
            resumes=resumes,
        )
        if not resumes:
            self.began_after = self.drain.supply.live.fetched
        self.session.clear()

    def start_over(self) -> None:
        self.drain.supply.start_over(newest_key=self.known)

    def leave_behind(self) -> None:
        self.drain.supply.leave_behind(newest_key=self.known)

    def ask(self) -> None:
        """What the outbox gives is as it was when it was asked."""
        if self.fetching is None and self.drain.open and (asked := self.drain.supply.ask()) is not None:
            found = [row for row in self.rows.values() if row.key > asked.after[row.priority]]
            found.sort(key=lambda row: (PRIORITIES.index(row.priority), row.key))
            self.fetching = asked, found[: self.drain.supply.batch]

    def answer_fetch(self) -> None:
        if self.fetching is not None:
            asked, rows = self.fetching
            self.fetching = None
            self.drain.supply.add(rows, asked=asked)

    def pump(self) -> None:
        if not self.drain.open:
            return
        self.drain.look(self.now_ns, newest_key=self.known)
        while (parcel := self.drain.next()) is not None:
            assert isinstance(parcel.item, Row)
            self.tickets += 1
            self.drain.sent(parcel, self.tickets, self.now_ns)
            self.in_flight.append((self.tickets, parcel))
            self.session.append(parcel)
            assert (parcel.lane == "backlog") == (parcel.item.key <= self.began_after)
            self.sent_at.append((self.now_ns, parcel))
            assert parcel.sent_before == (parcel.item.key in self.unknown) or parcel.failures
            self.unknown.add(parcel.item.key)
        assert len(self.in_flight) <= self.window

    def puback(self, place: int = 0, reason: int = 0) -> None:
        if not self.in_flight:
            return
        ticket, parcel = self.in_flight.pop(place % len(self.in_flight))
        answered = self.drain.settle(ticket, reason, self.now_ns)
        assert answered is not None
        if answered.verdict == "taken":
            assert isinstance(parcel.item, Row)
            self.unsettled.append(parcel.item.key)

    def flush(self) -> None:
        for key in self.unsettled:
            self.taken.append(key)
            del self.rows[key]
        self.drain.supply.settled(self.unsettled)
        self.unknown.difference_update(self.unsettled)
        self.unsettled = []

    def lose_connection(self) -> None:
        """For long: the next session is one by itself."""
        self._end()
        self.begin()

    def blink(self) -> None:
        """The connection is lost, and there again at once."""
        self._end()
        self.begin(resumes=True)

    def fetch_all(self) -> None:
        """As the feed does it: as long as the drain wants something."""
        self.answer_fetch()
        while self.drain.supply.wanting:
            self.ask()
            self.answer_fetch()

    def turn(self) -> None:
        self.fetch_all()
        self.pump()

    def finish(self) -> None:
        """Let everything go that is there."""
        for _ in range(10_000):
            self.turn()
            self.puback()
            self.flush()
            self.now_ns += SECOND // 10
            if self.drain.idle:
                return
        raise AssertionError(f"{len(self.rows)} rows are still there")

    def check_session(self) -> None:
        first = [(p.item, p.lane) for p in self.session if isinstance(p.item, Row) and not p.failures]
        keys = [row.key for row, _lane in first]
        assert len(keys) == len(set(keys)), "sent twice in one session"
        for lane in get_args(LaneName):
            for priority in PRIORITIES:
                order = [row.key for row, its in first if row.priority == priority and its == lane]
                assert order == sorted(order)

    def _end(self) -> None:
        self.flush()
        self.drain.end()
        self.in_flight.clear()
