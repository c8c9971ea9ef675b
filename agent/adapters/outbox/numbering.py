"""Giving drafts their keys and sequence numbers, in the transaction that stores them."""

import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agent.adapters.outbox import rows
from agent.adapters.outbox.books import Books
from agent.adapters.outbox.bounds import Bounds
from agent.adapters.outbox.dropping import Dropper
from agent.adapters.outbox.meta import write_meta
from agent.adapters.outbox.recent import Recent
from agent.adapters.outbox.rows import Moment, Placed
from agent.adapters.outbox.schema import STRICT
from agent.domain.ids import Stream
from agent.ports import Draft

RESERVE: Final = 256
"""Numbers by which a bulk stream's ceiling is raised, in a commit that is synced: a larger reserve syncs
less often, and declares more as lost after a power cut."""

STRICT_RESERVE: Final = 16
"""The same of a strict stream, whose commits a power cut undoes only where the card lies about a sync."""


class Numbering:
    """Keys rise over the whole file; sequence numbers count per stream, from 0, without gaps."""

    def __init__(
        self,
        *,
        connection: sqlite3.Connection,
        books: Books,
        dropper: Dropper,
        next_key: int,
        bounds: Bounds,
    ) -> None:
        self._connection = connection
        self._books = books
        self._dropper = dropper
        self._bounds = bounds
        self.next_key = next_key
        self._given_key = next_key
        self.recent = Recent(newest_key=next_key - 1)
        self.raised = False
        """A ceiling was raised that is not in the file itself yet; whoever moves it there says so."""
        self._inserted: list[tuple[Placed, Draft]] = []
        self._commits: deque[tuple[int, int]] = deque(maxlen=512)

    def must_sync(self, drafts: Sequence[Draft]) -> bool:
        """Whether these have to be on the disk itself when they are committed.

        So have strict ones, and numbers at or above a stream's ceiling: a commit that a power cut may undo
        must not give numbers that could be given again afterwards.
        """
        if any(draft.priority in STRICT for draft in drafts):
            return True
        wanted = Counter(draft.stream for draft in drafts)
        return any(
            self._books.of(stream).next_seq + count > self._books.of(stream).ceiling
            for stream, count in wanted.items()
        )

    def insert(self, drafts: Sequence[Draft], moment: Moment) -> None:
        """Store `drafts` in order. One larger than all of its priority may be is dropped as oversize."""
        numbers: dict[Stream, int] = {}
        grown: Counter[Stream] = Counter()
        oversize: defaultdict[Stream, list[int]] = defaultdict(list)
        bulk: set[Stream] = set()
        values = []
        for draft in drafts:
            stream, size = draft.stream, rows.size_of(draft)
            tally = self._books.of(stream)
            seq = numbers.get(stream, tally.next_seq)
            numbers[stream] = seq + 1
            if draft.priority not in STRICT:
                bulk.add(stream)
            if size > self._bounds.most_bytes(draft.priority):
                oversize[stream].append(seq)
                continue
            grown[stream] += size
            placed = Placed(self._given_key, tally.id, seq, size)
            values.append(rows.values_of(draft, placed, moment))
            self._inserted.append((placed, draft))
            self._given_key += 1
        rows.insert(self._connection, values)
        for stream, next_seq in numbers.items():
            self._count(
                stream, next_seq, grown[stream], reserve=RESERVE if stream in bulk else STRICT_RESERVE
            )
        for stream, seqs in oversize.items():
            self._dropper.drop_new(stream, seqs, "oversize", at_wall_ns=moment.at.wall_ns)
        write_meta(self._connection, next_key=self._given_key)

    def settle(self, *, at_ns: int) -> None:
        """The transaction was committed, at `at_ns`."""
        if self._given_key > self.next_key:
            self._commits.append((self._given_key, at_ns))
            self.recent.add(self._inserted, newest_key=self._given_key - 1, committed_ns=at_ns)
            self._inserted.clear()
        self.next_key = self._given_key

    def discard(self) -> None:
        """The transaction was rolled back."""
        self._given_key = self.next_key
        self._inserted.clear()

    def committed_ns(self, key: int) -> int | None:
        """When the row was committed, to the end of the sync; None: too long ago to be remembered."""
        if not self._commits or key < self._commits[0][0]:
            return None
        place = bisect_right(self._commits, key, key=lambda commit: commit[0])
        return self._commits[place][1] if place < len(self._commits) else None

    def _count(self, stream: Stream, next_seq: int, grown: int, *, reserve: int) -> None:
        tally = self._books.of(stream)
        ceiling = tally.ceiling
        if next_seq > ceiling:
            ceiling = next_seq + reserve
            self.raised = True
        self._books.put(
            replace(tally, next_seq=next_seq, ceiling=ceiling, waiting_bytes=tally.waiting_bytes + grown)
        )
