"""What a transaction may do to the file and its accounts: all of it provisional until the caller commits."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.adapters.outbox import refused, rows
from agent.adapters.outbox.books import Books
from agent.adapters.outbox.bounds import Bounds, Present
from agent.adapters.outbox.dropping import Dropper
from agent.adapters.outbox.kept import Kept
from agent.adapters.outbox.ledger import Entry, Ledger
from agent.adapters.outbox.meta import Meta
from agent.adapters.outbox.numbering import Numbering
from agent.adapters.outbox.rows import Moment, Placed
from agent.adapters.outbox.work import Refusal, Work
from agent.contract.payloads import LossReason
from agent.contract.topics import LOSS
from agent.domain.ids import Stream
from agent.ports import Draft


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that was refused, for the log."""

    stream: Stream
    seq: int
    refusal: Refusal


class Changes:
    """`save` ends a transaction, before it is committed; then `settle` or `discard` has to be called."""

    def __init__(self, *, connection: sqlite3.Connection, meta: Meta, bounds: Bounds) -> None:
        self._connection = connection
        self.boot_id = 0
        """Of the rows to come; `Store.begin` sets it."""
        self.books = Books(connection)
        self.ledger = Ledger(connection)
        self._dropper = Dropper(
            connection=connection, books=self.books, ledger=self.ledger, epoch=meta.epoch, bounds=bounds
        )
        self.kept = Kept(connection=connection, books=self.books, epoch=meta.epoch)
        self.numbering = Numbering(
            connection=connection,
            books=self.books,
            dropper=self._dropper,
            next_key=meta.next_key,
            bounds=bounds,
        )

    def write(self, work: Work, present: Present, *, limit_bytes: int) -> list[SetAside]:
        """All of `work`, then what the bound demands; the rows that were refused."""
        at_wall_ns = present.at.wall_ns
        self.kept.acknowledge(work.acknowledged)
        set_aside = [row for refusal in work.refusals for row in self._refuse(refusal, at_wall_ns)]
        for stream, count in work.unnumbered.items():
            self._dropper.drop_unnumbered(stream, count, at_wall_ns=at_wall_ns)
        if work.drafts:
            self._insert(work.drafts, present)
        self._dropper.evict(to_bytes=limit_bytes, at_wall_ns=at_wall_ns)
        return set_aside

    def evict(self, *, to_bytes: int, spare: int, at_wall_ns: int) -> None:
        """Drop the oldest of the lowest priority, but nothing that ranks before `spare`."""
        self._dropper.evict(to_bytes=to_bytes, spare=spare, at_wall_ns=at_wall_ns)

    def drop(self, gone: Sequence[Placed], reason: LossReason, *, at_wall_ns: int) -> None:
        """Drop rows that are in the file."""
        self._dropper.drop(gone, reason, at_wall_ns=at_wall_ns)

    def skip_reserves(self, *, at_wall_ns: int) -> None:
        """Skip all numbers that commits which a power cut undid may have given."""
        for tally in self.books.all():
            if tally.next_seq < tally.ceiling:
                self._dropper.drop_reserve(tally.stream, at_wall_ns=at_wall_ns)

    def tell(self, told: Sequence[Entry], drafts: Sequence[Draft], present: Present) -> None:
        """Store the loss messages `drafts`, which declare `told`."""
        self._insert(drafts, present)
        self.ledger.mark_told(told)

    def save(self) -> None:
        self.books.save()

    def settle(self, *, at_ns: int) -> Counter[tuple[Stream, LossReason]]:
        """The transaction was committed, at `at_ns`; what it dropped."""
        self.books.settle()
        self.numbering.settle(at_ns=at_ns)
        dropped = self._dropper.take()
        if dropped:
            self.numbering.recent.forget()
        return dropped

    def discard(self) -> None:
        """The transaction was rolled back."""
        self.books.discard()
        self.numbering.discard()
        self.kept.discard()
        self._dropper.take()

    def _insert(self, drafts: Sequence[Draft], present: Present) -> None:
        moment = Moment(at=present.at, boot_id=self.boot_id, synced=present.synced)
        self.numbering.insert(drafts, moment)

    def _refuse(self, refusal: Refusal, at_wall_ns: int) -> list[SetAside]:
        gone = rows.place(self._connection, "WHERE key = ?", (refusal.key,))
        for placed in gone:
            stream = self.books.name_of(placed.stream_id)
            refused.set_aside(self._connection, refusal, at_wall_ns=at_wall_ns)
            # The loss of a refused loss message is not told: the telling would be refused as well.
            self._dropper.drop([placed], refusal.reason, at_wall_ns=at_wall_ns, silent=stream == LOSS)
        return [SetAside(self.books.name_of(placed.stream_id), placed.seq, refusal) for placed in gone]
