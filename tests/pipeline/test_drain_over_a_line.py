"""How late the present is over a line with a long way there and back, beside a past that wants all of it."""

from itertools import pairwise

import pytest

from agent.ports import Row
from tests.pipeline.drain_world import SECOND, World

_TICK_NS = 5_000_000
_COMMIT_NS = SECOND // 4
_MADE_PER_S = 30
_BACKLOG = 3_000


class Line(World):
    """Thirty rows a second, committed four times a second; each is answered `there_and_back_s` later.

    The line carries `carries_per_s`, one row after another, or a window of 20, whichever is less. While it
    stalls, until `stalled_until_ns`, nothing is answered; then, what should have been before.
    """

    def __init__(
        self, there_and_back_s: float, *, per_s: float | None = None, carries_per_s: float = 10_000.0
    ) -> None:
        super().__init__(window=20, per_s=per_s, batch=128)
        self.there_and_back_ns = int(there_and_back_s * SECOND)
        self.stalled_until_ns = 0
        self._row_ns = int(SECOND / carries_per_s)
        self._carried_ns = 0
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
            sent_ns = self.sent_at[ticket - 1][0]
            carried_ns = max(sent_ns + self.there_and_back_ns, self._carried_ns + self._row_ns)
            if carried_ns > self.now_ns:
                break
            self._carried_ns = carried_ns
            assert isinstance(parcel.item, Row)
            self.arrivals.append((self.now_ns, parcel.item))
            self.puback()
        self.flush()

    def live_arrivals(self) -> list[tuple[int, Row]]:
        """What arrived as it happened, and when."""
        sent = [parcel for _, parcel in self.sent_at if parcel.lane == "live"]
        live = {parcel.item.key for parcel in sent if isinstance(parcel.item, Row)}
        return [(at_ns, row) for at_ns, row in self.arrivals if row.key in live]

    def lags_s(self, *, since_ns: int = 0) -> list[float]:
        """Of what was made in this session, and since then: from commitment to the answer, or till now."""
        rows = [*self.arrivals, *((self.now_ns, row) for row in self.rows.values())]
        return [
            (at_ns - row.committed_ns) / SECOND
            for at_ns, row in rows
            if row.key > self.began_after and row.committed_ns >= since_ns
        ]


@pytest.mark.parametrize(
    ("there_and_back_s", "carries_per_s"),
    [(0.1, 10_000), (0.15, 10_000), (0.3, 10_000), (0.5, 10_000), (0.53, 10_000), (0.15, 60), (0.15, 38)],
)
def test_nothing_new_is_late_while_the_line_carries_a_quarter_more_than_is_made(
    there_and_back_s: float, carries_per_s: float
) -> None:
    line = Line(there_and_back_s, carries_per_s=carries_per_s)
    line.begin_with(_BACKLOG)
    line.run(30.0)
    assert "late" not in {parcel.lane for parcel in line.session}
    assert max(line.lags_s()) < 1.0 + there_and_back_s
    past = sum(row.key <= line.began_after for _, row in line.arrivals)
    assert past > 0.15 * len(line.arrivals), "the past goes on as well"


@pytest.mark.parametrize(
    ("carries_per_s", "gap_s", "age_s"), [(36, 0.35, 1.4), (30, 0.35, 1.5), (20, 0.35, 1.8), (10, 0.55, 2.8)]
)
def test_the_present_stays_visible_where_the_line_carries_less(
    carries_per_s: float, gap_s: float, age_s: float
) -> None:
    """Some of what is made becomes late; the rest shows what happens now, without long gaps."""
    line = Line(0.15, carries_per_s=carries_per_s)
    line.begin_with(_BACKLOG)
    line.run(60.0)
    assert "late" in {parcel.lane for parcel in line.session}
    live = line.live_arrivals()
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(live)) < gap_s * SECOND
    assert max(at_ns - row.committed_ns for at_ns, row in live) < age_s * SECOND


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


@pytest.mark.parametrize("name", ["start_over", "blink"])
@pytest.mark.parametrize(("per_s", "backlog_from_s"), [(None, 0.0), (1.0, 0.0), (None, 60.0)])
def test_neither_a_replay_nor_a_short_break_puts_what_is_new_behind_the_past(
    name: str, per_s: float | None, backlog_from_s: float
) -> None:
    line = Line(0.15, per_s=per_s)
    line.begin_with(_BACKLOG, backlog_from_s=backlog_from_s)
    for _ in range(3):
        line.run(2.1)
        line.commit(count=20)
        line.hear()
        getattr(line, name)()
    line.run(5.0)
    assert len(line.rows) > _BACKLOG / 3, "the past is not over"
    assert "late" in {parcel.lane for _, parcel in line.sent_at}
    assert max(line.lags_s()) < 3.0
