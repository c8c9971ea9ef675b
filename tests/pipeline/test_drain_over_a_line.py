"""How late the present is over a line with a long way there and back, beside a past that wants all of it."""

import pytest

from agent.ports import Row
from tests.pipeline.test_drain_properties import SECOND, World

_TICK_NS = 5_000_000
_COMMIT_NS = SECOND // 4
_MADE_PER_S = 30
_BACKLOG = 3_000


class Line(World):
    """Thirty rows a second, committed four times a second; each is answered `there_and_back_s` later.

    A line that stalls until `stalled_until_ns` answers then what it should have answered before.
    """

    def __init__(self, there_and_back_s: float, *, per_s: float | None = None) -> None:
        super().__init__(window=20, per_s=per_s, batch=128)
        self.there_and_back_ns = int(there_and_back_s * SECOND)
        self.stalled_until_ns = 0
        self.arrivals: list[tuple[int, Row]] = []

    def begin_with(self, backlog: int, *, backlog_from_s: float = 0.0) -> None:
        """A session that begins with so many old rows, of which none may go for so many seconds."""
        self.commit(count=backlog)
        self.now_ns += 600 * SECOND
        self.begin(backlog_from_ns=self.now_ns + int(backlog_from_s * SECOND))

    def run(self, seconds: float) -> None:
        end_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < end_ns:
            self.now_ns += _TICK_NS
            if self.now_ns % _COMMIT_NS < _TICK_NS:
                self.commit(count=_MADE_PER_S // 4 + (self.now_ns // _COMMIT_NS) % 2)
                self.hear()
            self.answer()
            self.turn()

    def answer(self) -> None:
        if self.now_ns < self.stalled_until_ns:
            return
        while self.in_flight:
            ticket, parcel = self.in_flight[0]
            if self.sent_at[ticket - 1][0] + self.there_and_back_ns > self.now_ns:
                break
            assert isinstance(parcel.item, Row)
            self.arrivals.append((self.now_ns, parcel.item))
            self.puback()
        self.flush()

    def lags_s(self, *, since_ns: int = 0) -> list[float]:
        """Of what was made in this session, and since then: from commitment to the answer, or till now."""
        rows = [*self.arrivals, *((self.now_ns, row) for row in self.rows.values())]
        return [
            (at_ns - row.committed_ns) / SECOND
            for at_ns, row in rows
            if row.key > self.began_after and row.committed_ns >= since_ns
        ]


@pytest.mark.parametrize("there_and_back_s", [0.1, 0.15, 0.3, 0.5])
def test_nothing_new_is_late_while_the_line_carries_more_than_is_made(there_and_back_s: float) -> None:
    line = Line(there_and_back_s)
    line.begin_with(_BACKLOG)
    line.run(20.0)
    assert max(line.lags_s()) < 1.0 + there_and_back_s
    past = sum(row.key <= line.began_after for _, row in line.arrivals)
    assert past > 0.15 * len(line.arrivals), "the past goes on as well"


@pytest.mark.parametrize("there_and_back_s", [0.1, 0.3])
@pytest.mark.parametrize(("per_s", "backlog_from_s"), [(None, 0.0), (1.0, 0.0), (None, 60.0)])
def test_what_a_stall_made_late_does_not_wait_for_the_past(
    there_and_back_s: float, per_s: float | None, backlog_from_s: float
) -> None:
    """Nor for what the past has to wait for: its rate, and its random start."""
    line = Line(there_and_back_s, per_s=per_s)
    line.begin_with(_BACKLOG, backlog_from_s=backlog_from_s)
    line.run(3.0)
    line.stalled_until_ns = line.now_ns + int(1.3 * SECOND)
    line.run(8.0)
    assert len(line.rows) > _BACKLOG / 3, "the past is not over"
    assert max(line.lags_s()) < 4.0
    assert max(line.lags_s(since_ns=line.stalled_until_ns + SECOND // 4)) < 1.0 + there_and_back_s
