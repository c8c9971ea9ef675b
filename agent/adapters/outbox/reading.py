"""What waits in the file, for whoever sends it."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agent.adapters.outbox import rows
from agent.adapters.outbox.books import Books
from agent.adapters.outbox.bounds import Bounds, Present
from agent.adapters.outbox.numbering import Numbering
from agent.adapters.outbox.recent import Recently
from agent.adapters.outbox.rows import Placed, Stored
from agent.adapters.outbox.schema import AT_BROKER, RANKS
from agent.ports import Priority, Row

_STEP: Final = 64
_NOT_EXPIRED_NS: Final = 1_000_000_000
"""The shortest expiry that there is."""

_MOST_SPOILED: Final = 2_048
"""Rows that one sweep drops, so that its transaction stays short."""


@dataclass(slots=True)
class Found:
    """Rows to be sent, and others that turned out to be too old, or not what was written."""

    rows: list[Row] = field(default_factory=list)
    expired: list[Placed] = field(default_factory=list)
    damaged: list[Placed] = field(default_factory=list)


class Reader:
    """Reads, changes nothing."""

    def __init__(
        self,
        *,
        connection: sqlite3.Connection,
        epoch: str,
        boots: Mapping[int, str],
        books: Books,
        numbering: Numbering,
        bounds: Bounds,
    ) -> None:
        self._connection = connection
        self._epoch = epoch
        self._boots = boots
        self._books = books
        self._numbering = numbering
        self._bounds = bounds

    def fetch(
        self, after: Mapping[Priority, int], limit: int, *, without: frozenset[int], present: Present
    ) -> Found:
        """Up to `limit` rows above `after`, without the keys of `without`: by priority, then oldest first."""
        found = Found()
        for rank, priority in enumerate(RANKS):
            cursor = after.get(priority, 0)
            recent = self._numbering.recent.take(priority, after=cursor, limit=limit - len(found.rows))
            for fresh in recent or ():
                self._sort_recent(fresh, found, present)
            while recent is None and len(found.rows) < limit:
                stored = self._select(rank, cursor, limit - len(found.rows), to_send=True)
                if not stored:
                    break
                cursor = stored[-1].placed.key
                for one in stored:
                    self._sort(one, found, without, present)
        return found

    def spoiled(self, present: Present, *, without: frozenset[int]) -> Found:
        """What is too old or damaged at the old end of each priority, up to the first row that is neither.

        One that lies behind a row that keeps longer is found by `fetch`, so it is never sent.
        """
        found = Found()
        for rank in range(len(RANKS)):
            cursor, step = 0, 1
            while not found.rows and len(found.expired) < _MOST_SPOILED:
                stored = self._select(rank, cursor, step)
                if not stored:
                    break
                cursor, step = stored[-1].placed.key, _STEP
                for one in stored:
                    if not found.rows:
                        self._sort(one, found, without, present)
            found.rows.clear()
        return found

    def oldest_age_s(self, present: Present) -> float:
        """How old the row is that was committed first; 0 where nothing waits."""
        for one in self._rows("ORDER BY key LIMIT 1", ()):
            if one.row is not None:
                return present.age_ns(one.row) / 1e9
        return 0.0

    def _select(self, rank: int, above: int, limit: int, *, to_send: bool = False) -> list[Stored]:
        kind = f"AND at_broker <> {AT_BROKER}" if to_send else ""
        return self._rows(f"WHERE rank = ? AND key > ? {kind} ORDER BY key LIMIT ?", (rank, above, limit))

    def _rows(self, where: str, values: tuple[int, ...]) -> list[Stored]:
        return rows.select(
            self._connection,
            where,
            values,
            epoch=self._epoch,
            streams=self._books.names,
            boots=self._boots,
        )

    def _sort_recent(self, one: Recently, found: Found, present: Present) -> None:
        draft, placed = one.draft, one.placed
        row = Row(
            key=placed.key,
            epoch=self._epoch,
            seq=placed.seq,
            stream=draft.stream,
            priority=draft.priority,
            body=draft.body,
            content_type=draft.content_type,
            expiry_s=draft.expiry_s,
            properties=draft.properties,
            made=draft.made,
            captured=draft.captured,
            committed_ns=one.committed_ns,
            boot=present.boot,
            synced=present.synced,
        )
        age_ns = present.at.monotonic_ns - draft.made.monotonic_ns
        if age_ns > _NOT_EXPIRED_NS and self._bounds.expired(row, age_ns):
            found.expired.append(placed)
        else:
            found.rows.append(row)

    def _sort(self, one: Stored, found: Found, without: frozenset[int], present: Present) -> None:
        row = one.row
        if one.placed.key in without:  # on its way out: neither to be sent nor to be declared lost
            return
        if row is None:
            found.damaged.append(one.placed)
        elif self._bounds.expired(row, present.age_ns(row)):
            found.expired.append(one.placed)
        else:
            committed_ns = self._numbering.committed_ns(row.key)
            found.rows.append(row if committed_ns is None else replace(row, committed_ns=committed_ns))
