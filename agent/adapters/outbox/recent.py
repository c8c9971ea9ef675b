"""What was committed a moment ago, for a drain that keeps up: it need not be read back from the file."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.adapters.outbox.rows import Placed
from agent.ports import Draft, Priority

_MOST_ROWS: Final = 1_024
_MOST_BYTES: Final = 4 << 20
"""A drain that is further behind reads the file, and memory stays what it was."""


@dataclass(frozen=True, slots=True)
class Recently:
    """A row that is in the file. `committed_ns` is monotonic."""

    placed: Placed
    draft: Draft
    committed_ns: int


class Recent:
    """Hands out each row at most once; who asks again, or from further back, is sent to the file.

    So no row is in here that was sent, acknowledged or refused; if any are dropped, everything is forgotten.
    """

    def __init__(self, *, newest_key: int) -> None:
        self._newest_key = newest_key
        self._complete_above: dict[Priority, int] = {}
        self._otherwise = newest_key
        self._rows: dict[Priority, deque[Recently]] = {}
        self._count = 0
        self._bytes = 0

    def add(self, rows: Sequence[tuple[Placed, Draft]], *, newest_key: int, committed_ns: int) -> None:
        """They were committed, up to `newest_key`."""
        self._newest_key = newest_key
        for placed, draft in rows:
            of_priority = self._rows.get(draft.priority)
            if of_priority is None:
                of_priority = self._rows[draft.priority] = deque()
            of_priority.append(Recently(placed, draft, committed_ns))
            self._bytes += placed.size
        self._count += len(rows)
        if self._count > _MOST_ROWS or self._bytes > _MOST_BYTES:
            self.forget()

    def forget(self) -> None:
        """From now on the file is asked for all that is there."""
        self._rows.clear()
        self._complete_above.clear()
        self._otherwise = self._newest_key
        self._count = self._bytes = 0

    def take(self, priority: Priority, *, after: int, limit: int) -> list[Recently] | None:
        """The next rows of `priority` above the key `after`; None: only the file knows."""
        if after >= self._newest_key:
            return []
        if after < self._complete_above.get(priority, self._otherwise):
            return None
        rows = self._rows.get(priority)
        taken: list[Recently] = []
        while rows and len(taken) < limit:
            row = rows.popleft()
            self._count -= 1
            self._bytes -= row.placed.size
            self._complete_above[priority] = row.placed.key
            if row.placed.key > after:
                taken.append(row)
        return taken
