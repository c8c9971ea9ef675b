"""Rows on their way from the outbox to the window: how far has been fetched, and what is next. Pure."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from agent.ports import Priority, Row

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""The highest first."""

LaneName = Literal["live", "late", "backlog"]
"""What is said as it happens; what fell behind; what is from before the session."""

BEYOND_ALL: Final = 2**63 - 1
"""A key above every row's: asks for nothing of a priority."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to fetch: rows above `after`. `life` and `news` tell what happened while that was under way."""

    lane: "Lane"
    after: Mapping[Priority, int]
    life: int
    news: int


class Lane:
    """Holds a few rows of each priority, so that a higher one committed later still goes first.

    It reaches from above one key to another, that one included. The outbox is asked for a priority's rows
    only while few of them are held here and there may be more.
    """

    def __init__(self, name: LaneName, *, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"a batch has at least one row, not {batch}")
        self.name = name
        self._batch = batch
        self._rows: dict[Priority, deque[Row]] = {priority: deque() for priority in PRIORITIES}
        self._fetched = dict.fromkeys(PRIORITIES, 0)
        self._upto = BEYOND_ALL
        self._may_have_more: set[Priority] = set(PRIORITIES)
        self._life = 0
        self._news = 0

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    @property
    def complete(self) -> bool:
        """All that it reaches over is held: the outbox had nothing more when it was asked last."""
        return not self._may_have_more

    @property
    def exhausted(self) -> bool:
        """Nothing is held, and the outbox had nothing more when it was asked last."""
        return self.complete and not len(self)

    @property
    def short(self) -> bool:
        """Whether the outbox should be asked."""
        return bool(self._short())

    @property
    def fetched(self) -> int:
        """The highest key that came from the outbox, or what the lane begins after."""
        return max(self._fetched.values())

    def restart(self, *, after: int, upto: int = BEYOND_ALL) -> None:
        """Forget what is held; begin above `after`, and end with `upto`."""
        for rows in self._rows.values():
            rows.clear()
        self._fetched = dict.fromkeys(PRIORITIES, after)
        self._life += 1
        self.extend(upto)

    def extend(self, upto: int) -> None:
        """It ends later than it did."""
        self._upto = upto
        self.expect_more()

    def expect_more(self) -> None:
        """Something has been committed."""
        self._news += 1
        self._may_have_more = set(PRIORITIES)

    def ask(self) -> Ask | None:
        """What to fetch next; None while there is no need."""
        short = self._short()
        if not short:
            return None
        after = {
            priority: self._fetched[priority] if priority in short else BEYOND_ALL for priority in PRIORITIES
        }
        return Ask(self, after, self._life, self._news)

    def add(self, rows: Sequence[Row], *, asked: Ask, without: Collection[int]) -> None:
        """What was fetched, to be sent but for the keys of `without`. Of no use after a restart."""
        if asked.life != self._life:
            return
        for row in rows:
            priority, key = row.priority, row.key
            if key > self._upto:
                self._may_have_more.discard(priority)
                continue
            self._fetched[priority] = key
            if key not in without:
                self._rows[priority].append(row)
        if len(rows) < self._batch and asked.news == self._news:
            self._may_have_more -= {p for p in PRIORITIES if asked.after[p] != BEYOND_ALL}

    def peek(self) -> Row | None:
        """The next row to send, which stays."""
        for rows in self._rows.values():
            if rows:
                return rows[0]
        return None

    def take(self) -> Row:
        """The next row to send."""
        return next(rows for rows in self._rows.values() if rows).popleft()

    def heads(self) -> list[Row]:
        """The next row of each priority that has one."""
        return [rows[0] for rows in self._rows.values() if rows]

    def _short(self) -> set[Priority]:
        enough = max(1, self._batch // 2)
        return {priority for priority in self._may_have_more if len(self._rows[priority]) < enough}


def waiting_since_ns(*lanes: Lane) -> int | None:
    """When the row was committed that has waited longest of those held; None where none is."""
    return min((row.committed_ns for lane in lanes for row in lane.heads()), default=None)
