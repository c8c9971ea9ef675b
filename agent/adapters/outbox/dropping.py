"""Taking out what will not be delivered: from the file, from the accounts, into the ledger, all at once."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agent.adapters.outbox import rows
from agent.adapters.outbox.books import Books
from agent.adapters.outbox.bounds import Bounds
from agent.adapters.outbox.ledger import Drop, Ledger, drops
from agent.adapters.outbox.rows import Placed
from agent.adapters.outbox.schema import RANKS, STRICT
from agent.contract.payloads import LossReason
from agent.domain.ids import Stream
from agent.ports import Priority

_STEP: Final = 256
"""Rows looked at a time."""

_BULK: Final = tuple(priority for priority in RANKS if priority not in STRICT)


class Dropper:
    """All of it inside the caller's transaction."""

    def __init__(
        self, *, connection: sqlite3.Connection, books: Books, ledger: Ledger, epoch: str, bounds: Bounds
    ) -> None:
        self._connection = connection
        self._bounds = bounds
        self._books = books
        self._ledger = ledger
        self._epoch = epoch
        self._dropped: Counter[tuple[Stream, LossReason]] = Counter()

    def drop(
        self, gone: Sequence[Placed], reason: LossReason, *, at_wall_ns: int, silent: bool = False
    ) -> None:
        """Drop rows that are in the file. `silent`: no message will tell."""
        rows.delete(self._connection, [placed.key for placed in gone])
        for stream_id in dict.fromkeys(placed.stream_id for placed in gone):
            stream = self._books.name_of(stream_id)
            of_stream = [placed for placed in gone if placed.stream_id == stream_id]
            tally = self._books.of(stream)
            freed = sum(placed.size for placed in of_stream)
            self._books.put(
                replace(tally, lost=tally.lost + len(of_stream), waiting_bytes=tally.waiting_bytes - freed)
            )
            for drop in drops(stream, self._epoch, [placed.seq for placed in of_stream], reason):
                self._ledger.record(drop, at_wall_ns=at_wall_ns, told=silent)
            self._dropped[stream, reason] += len(of_stream)

    def drop_new(self, stream: Stream, seqs: Sequence[int], reason: LossReason, *, at_wall_ns: int) -> None:
        """Drafts were given numbers, but never stored."""
        tally = self._books.of(stream)
        self._books.put(replace(tally, lost=tally.lost + len(seqs)))
        for drop in drops(stream, self._epoch, seqs, reason):
            self._ledger.record(drop, at_wall_ns=at_wall_ns)
        self._dropped[stream, reason] += len(seqs)

    def drop_unnumbered(self, stream: Stream, count: int, *, at_wall_ns: int) -> None:
        """Drafts that the disk did not take in time, and that never got a number."""
        tally = self._books.of(stream)
        self._books.put(replace(tally, unnumbered=tally.unnumbered + count, lost=tally.lost + count))
        self._ledger.record(Drop(stream, self._epoch, None, None, count, "disk"), at_wall_ns=at_wall_ns)
        self._dropped[stream, "disk"] += count

    def drop_reserve(self, stream: Stream, *, at_wall_ns: int) -> None:
        """Skip to the ceiling: commits that a power cut undid may have given any number below it."""
        tally = self._books.of(stream)
        skipped = tally.ceiling - tally.next_seq
        self._books.put(replace(tally, next_seq=tally.ceiling, lost=tally.lost + skipped))
        self._ledger.record(
            Drop(stream, self._epoch, tally.next_seq, tally.ceiling - 1, skipped, "damaged"),
            at_wall_ns=at_wall_ns,
        )
        self._dropped[stream, "damaged"] += skipped

    def evict(self, *, to_bytes: int, at_wall_ns: int, spare: int = 0) -> None:
        """Drop the oldest of the lowest priority until what waits fits; `spare` what ranks before it.

        Each priority has to fit its own bound first, then what is not strict what the reserve leaves, then
        all together `to_bytes`.
        """
        held = self._books.bytes_by_priority()
        for priority in RANKS[spare:]:
            excess = held[priority] - self._bounds.most_bytes(priority)
            held[priority] -= self._evict(priority, excess, at_wall_ns=at_wall_ns)
        for among, most in ((_BULK, self._bounds.bulk_bytes), (RANKS, to_bytes)):
            excess = sum(held[priority] for priority in among) - most
            for priority in reversed(among):
                if RANKS.index(priority) >= spare:
                    freed = self._evict(priority, excess, at_wall_ns=at_wall_ns)
                    held[priority] -= freed
                    excess -= freed

    def take(self) -> Counter[tuple[Stream, LossReason]]:
        """What was dropped since this was last asked."""
        dropped, self._dropped = self._dropped, Counter()
        return dropped

    def _evict(self, priority: Priority, excess: int, *, at_wall_ns: int) -> int:
        """Drop the oldest of `priority` until `excess` bytes are gone, or all of them; how many went."""
        freed = 0
        while freed < excess:
            where = "WHERE rank = ? ORDER BY key LIMIT ?"
            chosen: list[Placed] = []
            for placed in rows.place(self._connection, where, (RANKS.index(priority), _STEP)):
                if freed >= excess:
                    break
                chosen.append(placed)
                freed += placed.size
            if not chosen:
                break
            self.drop(chosen, "evicted", at_wall_ns=at_wall_ns)
        return freed
