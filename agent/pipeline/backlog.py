"""Rows on their way from the outbox to the window: how far has been fetched, and what is next. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from agent.ports import Priority, Row

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""The highest first."""

_BEYOND_ALL: Final = 2**63 - 1
"""A key above every row's: asks for nothing of a priority."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to fetch: rows above `after`. `life` and `news` tell what happened while that was under way."""

    after: Mapping[Priority, int]
    life: int
    news: int


class Backlog:
    """Holds a few rows of each priority, so that a higher one committed later still goes first.

    The outbox is asked for a priority's rows only while few of them are held here and there may be more.
    """

    def __init__(self, *, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"a batch has at least one row, not {batch}")
        self.batch = batch
        self._rows: dict[Priority, deque[Row]] = {priority: deque() for priority in PRIORITIES}
        self._fetched: dict[Priority, int] = {}
        self._sent: dict[Priority, int] = {}
        self._may_have_more: set[Priority] = set(PRIORITIES)
        self._life = 0
        self._news = 0

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    @property
    def exhausted(self) -> bool:
        """Nothing is held, and the outbox had nothing more when it was asked last."""
        return not self._may_have_more and not len(self)

    def rewind(self) -> None:
        """A new session: fetch everything again from the oldest unacknowledged row on."""
        for rows in self._rows.values():
            rows.clear()
        self._fetched.clear()
        self._life += 1
        self.expect_more()

    def expect_more(self) -> None:
        """Something has been committed."""
        self._news += 1
        self._may_have_more = set(PRIORITIES)

    def wants(self) -> Ask | None:
        """What to fetch next, with `limit` = `batch`; None while there is no need."""
        short = self._short()
        if not short:
            return None
        after = {
            priority: self._fetched.get(priority, 0) if priority in short else _BEYOND_ALL
            for priority in PRIORITIES
        }
        return Ask(after, self._life, self._news)

    def add(self, rows: Sequence[Row], *, asked: Ask) -> None:
        """What was fetched. Of no use if a new session began meanwhile."""
        if asked.life != self._life:
            return
        for row in rows:
            self._rows[row.priority].append(row)
            self._fetched[row.priority] = row.key
        if len(rows) < self.batch and asked.news == self._news:
            self._may_have_more -= {p for p in PRIORITIES if asked.after[p] != _BEYOND_ALL}

    def peek(self) -> Row | None:
        """The next row to send, which stays."""
        for rows in self._rows.values():
            if rows:
                return rows[0]
        return None

    def take(self) -> tuple[Row, bool]:
        """The next row to send, and whether it was sent before in this process.

        Rows of a priority are sent in the order of their keys: what is not above the highest sent was sent.
        """
        row = next(rows for rows in self._rows.values() if rows).popleft()
        sent_before = row.key <= self._sent.get(row.priority, 0)
        if not sent_before:
            self._sent[row.priority] = row.key
        return row, sent_before

    def _short(self) -> set[Priority]:
        enough = max(1, self.batch // 2)
        return {priority for priority in self._may_have_more if len(self._rows[priority]) < enough}
