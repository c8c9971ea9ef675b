"""Whatever happens to a drain: nothing is lost or goes twice in a session, and the present goes first."""

from collections import Counter
from random import Random
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline.drain import Drain, Parcel
from agent.pipeline.lane import Ask
from agent.ports import Priority, Row
from tests.fakes.rows import row_of

SECOND = 1_000_000_000
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


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
        self.lanes: dict[int, str] = {}
        self.sent_at: list[tuple[int, Parcel]] = []
        self.unknown: set[int] = set()

    def commit(self, priority: Priority = "detection", count: int = 1) -> None:
        for _ in range(count):
            self.newest += 1
            row = row_of(self.newest, priority)
            object.__setattr__(row, "committed_ns", self.now_ns)
            self.rows[self.newest] = row
        self.drain.supply.live.expect_more()

    def hear(self) -> None:
        """What the loop knows of the newest key lags behind what it may fetch."""
        self.known = self.newest

    def begin(self, *, backlog_from_ns: int = 0) -> None:
        self.hear()
        self.drain.begin(
            receive_maximum=65_535, birth=(), newest_key=self.known, backlog_from_ns=backlog_from_ns
        )
        self.began_after = self.drain.supply.live.fetched
        self.session.clear()

    def start_over(self) -> None:
        self.drain.supply.start_over(newest_key=self.known)
        self.began_after = self.drain.supply.live.fetched

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
            if not parcel.failures:
                is_late = parcel.item.key > self.began_after
                self.lanes[parcel.item.key] = "live" if parcel.live else "late" if is_late else "backlog"
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
        self.flush()
        self.drain.end()
        self.in_flight.clear()
        self.begin()

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
        first = [p.item for p in self.session if isinstance(p.item, Row) and not p.failures]
        keys = [row.key for row in first]
        assert len(keys) == len(set(keys)), "sent twice in one session"
        for lane in ("live", "late", "backlog"):
            for priority in PRIORITIES:
                order = [r.key for r in first if r.priority == priority and self.lanes[r.key] == lane]
                assert order == sorted(order)


STEPS = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from(PRIORITIES), st.integers(1, 6)),
    st.tuples(st.sampled_from(["ask", "answer_fetch", "pump", "flush", "hear"])),
    st.tuples(st.just("turn")),
    st.tuples(st.just("puback"), st.integers(0, 30), st.sampled_from([0, 0, 0, 0x10, 0x80, 0x97])),
    st.tuples(st.just("wait"), st.integers(0, 3 * SECOND)),
    st.tuples(st.sampled_from(["lose_connection", "start_over", "leave_behind"])),
)


@settings(max_examples=200, deadline=None)
@given(
    window=st.integers(1, 12),
    per_s=st.sampled_from([None, 2.0, 50.0]),
    before=st.integers(0, 30),
    steps=st.lists(STEPS, min_size=20, max_size=60),
)
def test_nothing_is_lost_or_sent_twice_in_a_session_and_each_class_keeps_its_order(
    window: int, per_s: float | None, before: int, steps: list[tuple[object, ...]]
) -> None:
    world = World(window=window, per_s=per_s)
    world.commit(count=before)
    world.begin()
    for name, *arguments in steps:
        match name:
            case "wait":
                world.now_ns += int(str(arguments[0]))
            case "leave_behind":
                world.drain.supply.leave_behind(newest_key=world.known)
            case _:
                getattr(world, str(name))(*arguments)
        world.check_session()
    world.finish()
    world.check_session()
    assert sorted(world.taken) == list(range(1, world.newest + 1))


@settings(max_examples=50, deadline=None)
@given(window=st.integers(1, 60), backlog=st.integers(50, 200), live=st.integers(20, 60))
def test_one_of_five_is_live_while_both_have_something(window: int, backlog: int, live: int) -> None:
    world = World(window=window, batch=256)
    world.commit(count=backlog)
    world.begin()
    world.commit(count=live)
    world.turn()
    while len(world.session) < backlog + live:
        world.puback()
        world.pump()
    order = [parcel.live for parcel in world.session]
    shared = order[: 5 * min(live, backlog // 4)]
    assert all(sum(shared[place : place + 5]) == 1 for place in range(len(shared) - 4))
    assert order[0]
    assert Counter(order) == {True: live, False: backlog}


@settings(max_examples=25, deadline=None)
@given(per_s=st.sampled_from([1.0, 20.0, 500.0]), every_ms=st.integers(5, 300))
def test_no_second_has_more_backlog_than_allowed_and_live_rows_are_not_counted(
    per_s: float, every_ms: int
) -> None:
    world = World(window=20, per_s=per_s, batch=64)
    world.commit(count=400)
    world.begin()
    end_ns = world.now_ns + 3 * SECOND
    live = 0
    while world.now_ns < end_ns:
        world.commit(count=1)
        live += 1
        world.turn()
        while world.in_flight:
            world.puback()
            world.pump()
        world.flush()
        world.now_ns += every_ms * 1_000_000
    backlog = [at_ns for at_ns, parcel in world.sent_at if not parcel.live]
    for place, at_ns in enumerate(backlog):
        within = sum(at_ns <= other < at_ns + SECOND for other in backlog[place:])
        assert within <= max(1.0, per_s) + per_s + 1
    assert sum(parcel.live for _, parcel in world.sent_at) == live


def test_a_backlog_whose_acknowledgements_do_not_come_leaves_places_to_the_present() -> None:
    world = World(window=20, batch=64)
    world.commit(count=100)
    world.begin()
    world.turn()
    assert len(world.in_flight) == 16
    for _ in range(10):
        world.commit()
        world.turn()
        ticket_place = next(i for i, (_, parcel) in enumerate(world.in_flight) if parcel.live)
        world.puback(ticket_place)
    assert sum(parcel.live for parcel in world.session) == 10


def live_ages_s(*, made_per_s: int, line_per_s: int, backlog: int, seconds: int) -> list[float]:
    """How old each live row was when the broker had it, over a line that carries so many rows a second."""
    world = World(window=20, batch=128)
    world.commit(count=backlog)
    world.now_ns += 600 * SECOND
    world.begin()
    step_ns = SECOND // line_per_s
    end_ns, next_ns, ages_s = world.now_ns + seconds * SECOND, world.now_ns, []
    while world.now_ns < end_ns:
        while next_ns <= world.now_ns:
            world.commit()
            next_ns += SECOND // made_per_s
        world.hear()
        world.turn()
        _ticket, parcel = world.in_flight[0]
        world.now_ns += step_ns
        world.puback()
        world.flush()
        if parcel.live and isinstance(parcel.item, Row):
            ages_s.append((world.now_ns - parcel.item.committed_ns) / SECOND)
    return ages_s


def test_what_is_new_is_there_within_two_seconds_on_a_line_that_is_slower_than_what_is_made() -> None:
    """Thirty rows a second are made, twenty pass; an hour's backlog is before them."""
    ages_s = live_ages_s(made_per_s=30, line_per_s=20, backlog=2_000, seconds=60)
    assert max(ages_s) < 2.0
    assert len(ages_s) > 60 * 20 / 5 * 0.9


def test_what_is_new_is_there_at_once_on_a_line_that_is_fast_enough() -> None:
    ages_s = live_ages_s(made_per_s=30, line_per_s=400, backlog=20_000, seconds=20)
    assert max(ages_s) < 0.5
    assert len(ages_s) >= 20 * 30 - 5
