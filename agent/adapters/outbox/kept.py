"""Rows that the broker has acknowledged and that are kept for their consumer: `keep_until: stored`."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.adapters.outbox import rows
from agent.adapters.outbox.books import Books, Tally
from agent.adapters.outbox.schema import AT_BROKER, SEND_AGAIN, TO_SEND
from agent.domain.ids import Stream
from agent.ports import KeepUntil, Replay

STEP: Final = 4_096
"""Rows taken out in one transaction: an ack may cover a million, and everybody else waits meanwhile."""

MOST_REPLAYED: Final = 10_000
"""Rows sent again for one request, because they are all marked in one transaction."""

Ignored = Literal["epoch", "stream", "beyond"]
"""Of another generation, of a stream that this one has not, or past what the broker has acknowledged."""


@dataclass(frozen=True, slots=True)
class ConsumerAck:
    """The consumer has everything of `stream` up to `seq`."""

    stream: Stream
    epoch: str
    seq: int


class Kept:
    """What is at the broker, and how far each consumer is. All of it inside the caller's transaction.

    A consumer's ack is a state, not an event: it is retained, and may come before the PUBACK of what it
    covers. So the latest of each stream stands, and is looked at again whenever more has been acknowledged.
    """

    def __init__(self, *, connection: sqlite3.Connection, books: Books, epoch: str) -> None:
        self._connection = connection
        self._books = books
        self._epoch = epoch
        self.until: KeepUntil = "acknowledged"
        self._standing: dict[Stream, int] = {}
        self._due: set[Stream] = set()
        self._may_release = True

    @property
    def due(self) -> bool:
        """Whether `step` may find rows to take out."""
        return bool(self._due) or (self._may_release and self.until == "acknowledged")

    def acknowledge(self, keys: Sequence[int]) -> None:
        """The broker has the rows of `keys`: they go, or wait for their consumer."""
        if not keys:
            return
        if self.until == "acknowledged":
            self._take_out(keys)
            return
        self._connection.execute(
            f"UPDATE message SET at_broker = {AT_BROKER}"  # noqa: S608
            f" WHERE key IN (SELECT value FROM json_each(?)) AND at_broker <> {AT_BROKER}",
            (json.dumps(keys),),
        )
        self._may_release = True
        self._due.update(self._standing)

    def note(self, ack: ConsumerAck) -> Ignored | None:
        """A consumer has said how far it is; why that says nothing, if so."""
        tally = self._books.find(ack.stream)
        if ack.epoch != self._epoch:
            return "epoch"
        if tally is None:
            return "stream"
        if ack.seq >= tally.next_seq:
            return "beyond"
        self._standing[ack.stream] = ack.seq
        self._due.add(ack.stream)
        newest = self._newest(tally)
        return "beyond" if newest is not None and ack.seq > newest else None

    def step(self) -> None:
        """Take out some of what the consumers have, or of what need not be kept for them any more."""
        if self.until == "acknowledged":
            self._due.clear()
            taken = self._take_out(self._keys("ORDER BY stream, seq LIMIT ?", (STEP,)))
            self._may_release = taken == STEP
            return
        room = STEP
        while self._due and room > 0:
            stream = self._due.pop()
            taken = self._take_stored(stream, limit=room)
            if taken == room:  # there may be more
                self._due.add(stream)
            room -= taken

    def discard(self) -> None:
        """The transaction was rolled back: what it took out is to be looked for again."""
        self._due.update(self._standing)
        self._may_release = True

    def count(self, stream: Stream | None = None) -> int:
        """Rows that the broker has and their consumer has not, of one stream or of all."""
        where, values = ("", ()) if stream is None else ("AND stream = ?", (self._books.of(stream).id,))
        found: int = self._connection.execute(
            f"SELECT count(*) FROM message WHERE at_broker > 0 {where}",  # noqa: S608
            values,
        ).fetchone()[0]
        return found

    def remind(self) -> int:
        """Have the newest row of each stream sent again; how many those are."""
        where = "AND stream = ? ORDER BY seq DESC LIMIT 1"
        newest = [key for tally in self._books.all() for key in self._keys(where, (tally.id,))]
        self._send_again(newest)
        return len(newest)

    def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """Have rows sent again; None where nothing of the range is held."""
        tally = self._books.find(stream)
        if tally is None or epoch != self._epoch:
            return None
        held = self._bounds("at_broker > 0", tally, first, last)
        if tally.waiting > self.count(stream):  # no index finds what was not sent: look only if there is any
            held += self._bounds(f"at_broker = {TO_SEND}", tally, first, last)
        if not held:
            return None
        where = "AND stream = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
        chosen = self._keys(where, (tally.id, first, last, MOST_REPLAYED))
        self._send_again(chosen)
        return Replay(first=min(held), last=max(held), rows=len(chosen), complete=len(chosen) < MOST_REPLAYED)

    def _take_stored(self, stream: Stream, *, limit: int) -> int:
        tally, standing = self._books.of(stream), self._standing[stream]
        newest = self._newest(tally)
        if newest is None or standing > newest:
            return 0
        where = "AND stream = ? AND seq <= ? ORDER BY seq LIMIT ?"
        return self._take_out(self._keys(where, (tally.id, standing, limit)))

    def _keys(self, where: str, values: Sequence[object]) -> list[int]:
        """The rows that the broker has acknowledged and that `where` picks."""
        found = self._connection.execute(
            f"SELECT key FROM message WHERE at_broker > 0 {where}",  # noqa: S608
            values,
        )
        return [key for (key,) in found.fetchall()]

    def _send_again(self, keys: Sequence[int]) -> None:
        self._connection.execute(
            f"UPDATE message SET at_broker = {SEND_AGAIN} WHERE key IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(keys),),
        )

    def _take_out(self, keys: Sequence[int]) -> int:
        """Remove what has arrived, from the file and from what waits in the accounts; how many rows."""
        taken = 0
        for stream_id, count, size in rows.acknowledge(self._connection, keys):
            tally = self._books.of(self._books.name_of(stream_id))
            self._books.put(
                replace(
                    tally,
                    acknowledged=tally.acknowledged + count,
                    waiting_bytes=tally.waiting_bytes - size,
                )
            )
            taken += count
        return taken

    def _newest(self, tally: Tally) -> int | None:
        """The highest number of the stream that the broker has acknowledged, of those held."""
        found: int | None = self._connection.execute(
            "SELECT max(seq) FROM message WHERE at_broker > 0 AND stream = ?", (tally.id,)
        ).fetchone()[0]
        return found

    def _bounds(self, where: str, tally: Tally, first: int, last: int) -> list[int]:
        """The lowest and the highest number of those rows, if there are any."""
        found = self._connection.execute(
            f"SELECT min(seq), max(seq) FROM message WHERE {where} AND stream = ? AND seq BETWEEN ? AND ?",  # noqa: S608
            (tally.id, first, last),
        ).fetchone()
        return [seq for seq in found if seq is not None]
