"""The ledger of what was dropped, from which loss messages declare it."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.contract.payloads import LossReason
from agent.domain.ids import Stream

KEPT_ENTRIES: Final = 10_000
"""Told entries beyond this are forgotten, oldest first; the streams' accounts keep their sum."""

UNKNOWN_STREAM: Final = Stream("*")
"""Stands for every stream, where a store was lost so thoroughly that not even their names can be read."""


@dataclass(frozen=True, slots=True)
class Drop:
    """What was dropped: all of `first` to `last`, or `count` messages whose numbers nobody knows."""

    stream: Stream
    lost_epoch: str | None
    first: int | None
    last: int | None
    count: int
    reason: LossReason


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger; `told` once a loss message has declared it."""

    id: int
    drop: Drop
    at_wall_ns: int
    told: bool


class Ledger:
    """Written in the transaction that drops. An untold line grows when the next drop follows on it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, drop: Drop, *, at_wall_ns: int, told: bool = False) -> None:
        """`told`: nothing will declare it (the loss of a loss message that the broker refuses)."""
        if told or not self._grow(drop, at_wall_ns):
            self._connection.execute(
                "INSERT INTO ledger (stream, lost_epoch, first, last, count, reason, at_wall_ns, told)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(drop.stream, drop.lost_epoch, drop.first, drop.last, drop.count, drop.reason),
                    *(at_wall_ns, told),
                ),
            )

    def untold(self, *, limit: int) -> list[Entry]:
        """What no loss message has declared yet, oldest first."""
        return read_entries(self._connection, "WHERE told = 0 ORDER BY id LIMIT ?", (limit,))

    def mark_told(self, entries: Sequence[Entry]) -> None:
        self._connection.executemany(
            "UPDATE ledger SET told = 1 WHERE id = ?", [(entry.id,) for entry in entries]
        )
        self._connection.execute(
            "DELETE FROM ledger WHERE told = 1 AND id <= (SELECT max(id) FROM ledger) - ?", (KEPT_ENTRIES,)
        )

    def _grow(self, drop: Drop, at_wall_ns: int) -> bool:
        before = None if drop.first is None else drop.first - 1
        grown = self._connection.execute(
            "UPDATE ledger SET last = ?, count = count + ?, at_wall_ns = ?"
            " WHERE told = 0 AND stream = ? AND lost_epoch IS ? AND reason = ? AND last IS ?",
            (drop.last, drop.count, at_wall_ns, drop.stream, drop.lost_epoch, drop.reason, before),
        )
        return grown.rowcount > 0


def read_entries(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Entry]:
    """Entries that `where`, an SQL clause of ours, picks."""
    return [
        Entry(id=number, drop=Drop(*columns), at_wall_ns=at_wall_ns, told=bool(told))
        for number, *columns, at_wall_ns, told in connection.execute(
            "SELECT id, stream, lost_epoch, first, last, count, reason, at_wall_ns, told"  # noqa: S608
            f" FROM ledger {where}",
            values,
        )
    ]


def drops(stream: Stream, epoch: str, seqs: Sequence[int], reason: LossReason) -> list[Drop]:
    """`seqs` as ranges that cover exactly them.

    >>> [(one.first, one.last, one.count) for one in drops(Stream("loss"), "01J", [7, 3, 4, 5], "evicted")]
    [(3, 5, 3), (7, 7, 1)]
    """
    return [
        Drop(stream, epoch, first, last, last - first + 1, reason) for first, last in _ranges(sorted(seqs))
    ]


def _ranges(ordered: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or ordered[place] != ordered[place - 1] + 1:
            yield ordered[start], ordered[place - 1]
            start = place
