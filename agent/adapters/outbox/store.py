"""One open outbox file, and the transactions that change it. Used by the database thread only."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from agent.adapters.outbox import refused
from agent.adapters.outbox.bounds import Bounds, Present
from agent.adapters.outbox.changes import Changes
from agent.adapters.outbox.consumer import Asked
from agent.adapters.outbox.faults import DiskFullError, DiskRefusedError, translated
from agent.adapters.outbox.loss import LossTeller
from agent.adapters.outbox.mark import Mark, MarkFile
from agent.adapters.outbox.meta import Meta, enter_boot, read_boots, write_meta
from agent.adapters.outbox.opening import open_file
from agent.adapters.outbox.reading import Found, Reader
from agent.adapters.outbox.room import Room
from agent.adapters.outbox.rows import size_of
from agent.adapters.outbox.schema import RANKS, transaction
from agent.adapters.outbox.wear import Wear
from agent.adapters.outbox.work import Work
from agent.contract.topics import Topics
from agent.domain.errors import NanofleetError
from agent.domain.ids import Stream
from agent.ports import Clock, KeepUntil, Metrics, OutboxStatistics, Priority, Replay, Row

log = structlog.get_logger(__name__)

SYNC_EVERY_NS: Final = 10_000_000_000
"""At most so long until what was committed is also on the disk itself."""

_TIDY_EVERY_NS: Final = 1_000_000_000
_MOST_TOLD: Final = 256


class Store:
    """The accounts are cached here, so a file has one writer: `opening` locks it.

    Every method raises DiskRefusedError (nothing was changed; it may work later) or DamagedStoreError.
    """

    def __init__(
        self,
        *,
        connection: sqlite3.Connection,
        meta: Meta,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        bounds: Bounds,
        room: Room,
        wear: Wear,
        mark: MarkFile,
    ) -> None:
        self._mark = mark
        self.epoch = meta.epoch
        self._session = meta.session
        self._connection = connection
        self._clock = clock
        self._metrics = metrics
        self._boots = read_boots(connection)
        self._changes = Changes(connection=connection, meta=meta, bounds=bounds)
        self._books = self._changes.books
        self._reader = Reader(
            connection=connection,
            epoch=meta.epoch,
            boots=self._boots,
            books=self._books,
            numbering=self._changes.numbering,
            bounds=bounds,
        )
        self._room = room
        self._wear = wear
        self._teller = LossTeller(topics=topics)
        self._untold = True
        self._tidied_ns = clock.now().monotonic_ns - _TIDY_EVERY_NS
        self._unsynced_since_ns: int | None = None
        self._ignored: dict[Stream, str] = {}

    @property
    def next_key(self) -> int:
        """Above the key of every row that ever was in the file."""
        return self._changes.numbering.next_key

    @property
    def rows(self) -> int:
        return sum(tally.waiting for tally in self._books.all())

    @property
    def bytes(self) -> int:
        return self._books.waiting_bytes

    @property
    def limit_bytes(self) -> int:
        """Most bytes that may wait now."""
        return self._room.limit_bytes

    @property
    def cramped(self) -> bool:
        """Whether a full disk lets less wait than Settings allow."""
        return self._room.cramped

    # --- changes ------------------------------------------------------------------------------------

    def write(self, work: Work) -> bool:
        """All of `work`, and what the bounds demand after it, in one transaction; whether it was synced.

        On a full disk, old rows of no higher priority make room for the new ones first.
        """
        try:
            return self._write(work)
        except DiskFullError:
            self._make_room(work)
            return self._write(work)

    def keep(self, until: KeepUntil) -> None:
        """How long rows stay, from the next `write` on."""
        self._changes.kept.until = until

    def follow(self, asked: Asked) -> None:
        """Note how far the consumers are, and take out a part of what they have, if there is any."""
        kept = self._changes.kept
        if not (asked.acks or asked.remind or kept.due):
            return
        try:
            self._follow(asked)
        except DiskFullError:  # taking rows out needs room as well
            self._make_room(Work())
            self._follow(asked)

    def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """As the port says."""
        with self._transaction(durable=False):
            return self._changes.kept.replay(stream, epoch, first, last)

    def begin(self, *, cut: bool) -> None:
        """Mark the file as in use. `cut`: the last commits may be undone; skip what they may have given."""
        with self._transaction(durable=True):
            if cut:
                self._changes.skip_reserves(at_wall_ns=self._clock.now().wall_ns)
            self._changes.boot_id = enter_boot(self._connection, self._clock.boot)
            write_meta(self._connection, boot=self._clock.boot, clean=0)
        with translated():
            self._boots.update(read_boots(self._connection))

    def tidy_if_due(self, *, without: frozenset[int]) -> None:
        """Once a second: drop what is too old, see whether a full disk has room again, and count the wear.

        The rows of `without` have arrived, though the file does not say so yet.
        """
        present = Present.of(self._clock)
        if present.at.monotonic_ns - self._tidied_ns < _TIDY_EVERY_NS:
            return
        self._tidied_ns = present.at.monotonic_ns
        self._room.relax(present.at)
        with translated():
            found = self._reader.spoiled(present, without=without)
        self._drop_spoiled(found, present)
        if self._wear.keep_due(present.at.monotonic_ns):
            with self._transaction(durable=False):
                self._wear.keep(self._connection)

    def tell_losses(self) -> bool:
        """Declare the drops that are due, in the transaction that ticks them off; whether there were any."""
        if not self._untold:
            return False
        present = Present.of(self._clock)
        with translated():
            entries = self._changes.ledger.untold(limit=_MOST_TOLD)
        due = self._teller.due(entries, present)
        if due:
            drafts = [self._teller.draft(entry.drop, present) for entry in due]
            with self._transaction(durable=True):
                self._changes.tell(due, drafts, present)
            self._teller.told(due, present)
        self._untold = len(due) < len(entries) or len(entries) == _MOST_TOLD
        return bool(due)

    def next_session(self, *, above: int) -> int:
        """The next number, larger than `above` and than any before; on the disk itself."""
        session = max(self._session, above) + 1
        with self._transaction(durable=True):
            write_meta(self._connection, session=session)
        self._session = session
        self._write_mark()
        return session

    def sync_if_due(self) -> None:
        """Bring what was committed without a sync to the disk itself, if it has waited for long."""
        now_ns = self._clock.now().monotonic_ns
        if self._unsynced_since_ns is not None and now_ns - self._unsynced_since_ns >= SYNC_EVERY_NS:
            with translated():
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._wear.synced()
            self._unsynced_since_ns = None

    def close(self) -> None:
        """Leave the file in order: synced, with an empty log, marked as clean."""
        with self._transaction(durable=True):
            write_meta(self._connection, clean=1)
            self._wear.keep(self._connection)
        with translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    def abandon(self) -> None:
        """Let go of the file as it is; never raises."""
        with suppress(sqlite3.Error):
            self._connection.close()

    # --- questions ----------------------------------------------------------------------------------

    def fetch(self, after: Mapping[Priority, int], limit: int, *, without: frozenset[int]) -> list[Row]:
        """As the port says, but for the keys of `without`. What is found too old or damaged is dropped."""
        present = Present.of(self._clock)
        with translated():
            found = self._reader.fetch(after, limit, without=without, present=present)
        with suppress(DiskRefusedError):
            self._drop_spoiled(found, present)
        return found.rows

    def statistics(self) -> OutboxStatistics:
        present = Present.of(self._clock)
        with translated():
            oldest_s = self._reader.oldest_age_s(present)
            set_aside = refused.count(self._connection)
            at_broker = self._changes.kept.count()
        self._metrics.gauge("outbox_at_broker_rows", at_broker)
        tallies = self._books.all()
        return OutboxStatistics(
            epoch=self.epoch,
            rows=self.rows,
            bytes=self.bytes,
            oldest_s=oldest_s,
            refused=set_aside,
            produced=sum(tally.produced for tally in tallies),
            acknowledged=sum(tally.acknowledged for tally in tallies),
            lost=sum(tally.lost for tally in tallies),
            at_broker=at_broker,
        )

    # --- inside -------------------------------------------------------------------------------------

    def _write(self, work: Work) -> bool:
        present = Present.of(self._clock)
        durable = self._changes.numbering.must_sync(work.drafts)
        with self._transaction(durable=durable):
            set_aside = self._changes.write(work, present, limit_bytes=self._room.limit_bytes)
        for one in set_aside:
            log.warning(
                "outbox.row_refused",
                stream=one.stream,
                seq=one.seq,
                reason=one.refusal.reason,
                code=one.refusal.code,
            )
        return durable

    def _follow(self, asked: Asked) -> None:
        kept = self._changes.kept
        with self._transaction(durable=False):
            ignored = [(ack, why) for ack in asked.acks.values() if (why := kept.note(ack)) is not None]
            if asked.remind:
                kept.remind()
            if kept.due:
                kept.step()
        for ack, why in ignored:
            self._metrics.count("outbox_stored_ignored_total", reason=why)
            if self._ignored.get(ack.stream) != why and len(self._ignored) < _MOST_TOLD:
                self._ignored[ack.stream] = why
                log.info("outbox.stored_ignored", stream=ack.stream, epoch=ack.epoch, seq=ack.seq, reason=why)

    def _make_room(self, work: Work) -> None:
        now = self._clock.now()
        incoming = sum(size_of(draft) for draft in work.drafts)
        target = self._room.shrink(waiting=self.bytes, incoming=incoming, now=now)
        with translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if target < self.bytes and work.drafts:
            spare = min(RANKS.index(draft.priority) for draft in work.drafts)
            with self._transaction(durable=False):
                self._changes.evict(to_bytes=target, spare=spare, at_wall_ns=now.wall_ns)

    def _drop_spoiled(self, found: Found, present: Present) -> None:
        if found.expired or found.damaged:
            with self._transaction(durable=False):
                self._changes.drop(found.expired, "expired", at_wall_ns=present.at.wall_ns)
                self._changes.drop(found.damaged, "damaged", at_wall_ns=present.at.wall_ns)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        """The file, the accounts and the metrics change together or not at all."""
        with ExitStack() as unless_committed:
            unless_committed.callback(self._changes.discard)
            with translated(), transaction(self._connection, durable=durable):
                yield
                self._changes.save()
            unless_committed.pop_all()
        now_ns = self._clock.now().monotonic_ns
        for (stream, reason), count in self._changes.settle(at_ns=now_ns).items():
            self._untold = True
            self._metrics.count("lost_total", count, stream=stream, reason=reason)
        if durable:
            self._wear.synced()
            self._unsynced_since_ns = None
        elif self._unsynced_since_ns is None:
            self._unsynced_since_ns = now_ns
        self._write_mark()
        if self._changes.numbering.raised:
            self._secure_ceilings()

    def _write_mark(self) -> None:
        self._mark.write(Mark(self.epoch, self._clock.boot, self.next_key, self._session))

    def _secure_ceilings(self) -> None:
        """Move raised ceilings out of the log into the file, before anybody sees a number below them.

        Where somebody reads an older state, or the disk refuses, the next transaction tries again.
        """
        with suppress(sqlite3.Error):
            busy, frames, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._changes.numbering.raised = bool(busy) or moved < frames
            self._wear.synced()
            self._unsynced_since_ns = None


def open_store(
    path: Path,
    *,
    topics: Topics,
    clock: Clock,
    metrics: Metrics,
    bounds: Bounds,
    wear: Wear,
    first_key: int,
    broken: str | None,
) -> Store:
    """The store at `path`, in use from now on; `broken`, `first_key` as for `open_file`.

    Raises:
        ConfigError: the file is a newer agent's, in a form that this one cannot use.
        DiskRefusedError: not at the moment.
    """
    opened = open_file(path, clock=clock, first_key=first_key, broken=broken)
    try:
        with translated():
            store = Store(
                connection=opened.connection,
                meta=opened.meta,
                topics=topics,
                clock=clock,
                metrics=metrics,
                bounds=bounds,
                room=Room(max_bytes=bounds.max_bytes, reserve=path.with_name(f"{path.name}.reserve")),
                wear=wear,
                mark=MarkFile(path),
            )
            wear.resume(opened.connection)
        store.begin(cut=opened.cut)
    except NanofleetError:
        opened.connection.close()
        raise
    log.info("outbox.store_opened", path=str(path), epoch=store.epoch, rows=store.rows, bytes=store.bytes)
    return store
