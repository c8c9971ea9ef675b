"""Which lane a row comes from, whatever begins again."""

from dataclasses import replace

import pytest

from agent.pipeline.lane import Lane, waiting_since_ns
from agent.pipeline.supply import Supply
from agent.ports import Row
from tests.fakes.rows import row_of


class Store:
    """An outbox of detections in memory, and the supply that is fed from it."""

    def __init__(self, *, before: int, batch: int = 64) -> None:
        self.supply = Supply(batch=batch)
        self.rows: dict[int, Row] = {}
        self.newest = 0
        self.commit(before)
        self.begin()

    def commit(self, count: int) -> None:
        for _ in range(count):
            self.newest += 1
            self.rows[self.newest] = row_of(self.newest)
        self.supply.live.expect_more()

    def begin(self, *, resumes: bool = False) -> None:
        self.supply.end(unanswered=())
        self.supply.begin(newest_key=self.newest, resumes=resumes)

    def start_over(self) -> None:
        self.supply.start_over(newest_key=self.newest)

    def leave_behind(self) -> None:
        self.supply.leave_behind(newest_key=self.newest)

    def fetch(self) -> None:
        while (asked := self.supply.ask()) is not None:
            rows = [self.rows[key] for key in sorted(self.rows)]
            found = [row for row in rows if row.key > asked.after[row.priority]]
            self.supply.add(found[: self.supply.batch], asked=asked)

    def take(self, lane: Lane, count: int = 1_000) -> list[int]:
        keys: list[int] = []
        self.fetch()
        while lane.peek() is not None and len(keys) < count:
            keys.append(self.supply.take(lane)[0].key)
            self.fetch()
        return keys

    def take_all(self) -> list[list[int]]:
        """What comes from each lane: live, late, backlog."""
        supply = self.supply
        return [self.take(lane) for lane in (supply.live, supply.late, supply.backlog)]

    def settle(self, keys: list[int]) -> None:
        for key in keys:
            del self.rows[key]
        self.supply.settled(keys)

    def have_again(self, *keys: int) -> None:
        """The broker has had these."""
        for key in keys:
            self.rows[key] = replace(row_of(key), again=True)

    @property
    def new_rows(self) -> int:
        return self.supply.new_rows(newest_key=self.newest)


def test_a_session_begins_with_everything_in_the_backlog() -> None:
    store = Store(before=3)
    store.commit(2)
    assert store.take_all() == [[4, 5], [], [1, 2, 3]]


def test_what_is_left_behind_is_late() -> None:
    store = Store(before=3)
    store.commit(2)
    store.leave_behind()
    store.commit(2)
    assert store.take_all() == [[6, 7], [4, 5], [1, 2, 3]]


def test_starting_over_leaves_in_the_backlog_only_what_is_from_before_the_session() -> None:
    store = Store(before=3)
    store.commit(2)
    store.leave_behind()
    store.commit(2)
    store.fetch()
    for _ in range(2):
        store.start_over()
        store.commit(1)
    assert store.take_all() == [[9], [4, 5, 6, 7, 8], [1, 2, 3]]


def test_what_came_since_a_session_that_broke_off_a_moment_ago_is_late() -> None:
    store = Store(before=3)
    store.commit(2)
    for _ in range(2):
        store.begin(resumes=True)
    store.commit(1)
    assert store.take_all() == [[6], [4, 5], [1, 2, 3]]


def test_after_an_outage_all_that_waits_is_backlog() -> None:
    store = Store(before=3)
    store.commit(2)
    store.begin(resumes=True)
    store.begin()
    store.commit(1)
    assert store.take_all() == [[6], [], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("batch", [2, 64])
def test_what_is_to_go_again_is_backlog_whenever_it_was_made(batch: int) -> None:
    store = Store(before=3, batch=batch)
    store.commit(5)
    assert store.take(store.supply.live, 3) == [4, 5, 6]
    store.settle([4, 5, 6])
    store.have_again(2, 4, 6)
    store.start_over()
    assert store.take_all() == [[], [7, 8], [1, 2, 3, 4, 6]]


@pytest.mark.parametrize("name", ["live", "late", "backlog"])
def test_looking_again_finds_what_a_lane_was_not_given(name: str) -> None:
    """A disk that fails may say that there is nothing."""
    store = Store(before=1)
    store.commit(1)
    store.leave_behind()
    store.commit(1)
    key = {"backlog": 1, "late": 2, "live": 3}[name]
    hidden = store.rows.pop(key)
    store.take_all()
    assert store.supply.exhausted
    store.rows[key] = hidden
    assert store.take_all() == [[], [], []]
    store.supply.look_again()
    assert store.take(getattr(store.supply, name)) == [key]


def test_new_rows_are_those_made_in_the_session_that_are_not_settled() -> None:
    store = Store(before=10)
    store.commit(6)
    store.leave_behind()
    store.commit(4)
    told = [store.new_rows]
    taken = store.take(store.supply.late, 2) + store.take(store.supply.live, 2)
    told.append(store.new_rows)
    store.take(store.supply.backlog, 5)
    store.settle(taken)
    told.append(store.new_rows)
    assert told == [10, 10, 6]


def test_new_rows_stay_new_after_a_short_break_and_are_none_after_an_outage() -> None:
    store = Store(before=10)
    store.commit(10)
    store.settle(store.take(store.supply.live, 4))
    store.take(store.supply.live, 3)
    store.begin(resumes=True)
    told = [store.new_rows]
    store.fetch()
    told.append(store.new_rows)
    store.begin()
    store.commit(9)
    told.append(store.new_rows)
    assert told == [6, 6, 9]


def test_new_rows_are_counted_though_only_few_of_them_are_held() -> None:
    store = Store(before=10, batch=4)
    store.commit(100)
    store.leave_behind()
    store.settle(store.take(store.supply.late, 2))
    store.fetch()
    assert len(store.supply.late) < 10
    assert store.new_rows == 98


def test_new_rows_that_the_outbox_dropped_are_forgotten_once_all_are_held() -> None:
    store = Store(before=10)
    store.commit(5)
    del store.rows[12], store.rows[13]
    store.fetch()
    assert store.new_rows == 3


def test_the_longest_wait_is_that_of_the_oldest_row_of_any_priority() -> None:
    store = Store(before=0)
    store.commit(2)
    store.rows = {
        1: replace(row_of(1), committed_ns=5),
        2: replace(row_of(2, "event"), committed_ns=9),
    }
    store.fetch()
    assert waiting_since_ns(store.supply.live, store.supply.late) == 5
    assert waiting_since_ns(store.supply.late) is None
