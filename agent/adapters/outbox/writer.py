"""The database thread: gathers what piles up, commits it as a group, and goes on through a refusing disk."""

import sys
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Final, Protocol, assert_never

import structlog

from agent.adapters.outbox.cadence import Cadence
from agent.adapters.outbox.commands import (
    Acknowledge,
    Append,
    AskReplay,
    AskStatistics,
    Close,
    Command,
    Fetch,
    Keep,
    LookAtAcks,
    NextSession,
    Question,
    Remind,
    Reports,
)
from agent.adapters.outbox.consumer import Asked
from agent.adapters.outbox.faults import DamagedStoreError, DiskRefusedError
from agent.adapters.outbox.passage import Commands
from agent.adapters.outbox.store import Store
from agent.adapters.outbox.work import Refusal, Work
from agent.domain.errors import Code, ConfigError, NanofleetError, TransientError
from agent.ports import Clock, Metrics, OutboxStatistics, Priority, Replay, Row, Status

log = structlog.get_logger(__name__)

MOST_COMMANDS: Final = 256
"""Commands per commit: a longer group would hold the interpreter lock for longer than the loop likes."""

_MOST_BYTES: Final = 256 << 10
"""Of drafts in one commit: what a disk has made us hold may be more than it then has room for at once."""

_PAUSE_S: Final = 0.5
_RETRY_NS: Final = 1_000_000_000
_MOST_HELD_KEYS: Final = 100_000


class Opener(Protocol):
    """Opens the file anew; `broken` says why the one that is there must be replaced."""

    def __call__(self, *, first_key: int, broken: str | None) -> Store: ...


class Writer:
    """`run` is the thread. It gathers what comes, and commits it as a group when `Cadence` says so.

    While the disk refuses, drafts are held in memory up to `held_bytes`; beyond that they are dropped and
    declared as soon as the disk is back. What is there can still be read.
    """

    def __init__(
        self,
        *,
        commands: SimpleQueue[Commands],
        open_store: Opener,
        clock: Clock,
        metrics: Metrics,
        reports: Reports,
        on_tick: Callable[[], None],
        held_bytes: int,
        commit_interval_s: float,
    ) -> None:
        self._commands = commands
        self._open_store = open_store
        self._clock = clock
        self._metrics = metrics
        self._reports = reports
        self._on_tick = on_tick
        self._held_bytes = held_bytes
        self._store: Store | None = None
        self._first_key = 1
        self._broken: str | None = None
        self._work = Work()
        self._asked = Asked()
        self._cadence = Cadence(commit_interval_s)
        self._tended_s = float("-inf")
        self._taken = (0, 0)
        self._retry_ns: int | None = None
        self._session = 0
        self._said: tuple[Status, str | None, str | None] = ("ok", None, None)
        self._last = OutboxStatistics(
            epoch="", rows=0, bytes=0, oldest_s=0.0, refused=0, produced=0, acknowledged=0, lost=0
        )

    def run(self) -> None:
        """Serve until `Close`. An error that nobody expects ends the thread, and is reported as its end."""
        try:
            if self._start():
                while self._serve():
                    self._on_tick()
                self._stop()
        finally:
            self._reports.ended(sys.exc_info()[1])

    def _start(self) -> bool:
        try:
            self._open()
        except ConfigError as error:
            self._reports.opened(error)
            return False
        except DiskRefusedError as error:
            self._refused(error)
        self._reports.opened(None)
        return True

    def _serve(self) -> bool:
        questions: list[Question] = []
        going_on, at_once = True, False
        for command in self._gather():
            match command:
                case Append(draft, size):
                    self._work.append(draft, size)
                    self._taken = (self._taken[0] + 1, self._taken[1] + size)
                case Acknowledge(keys):
                    self._work.acknowledged.extend(keys)
                case Refusal():
                    self._work.refuse(command)
                case Keep(until):
                    self._asked.until = until
                case LookAtAcks(box):
                    self._asked.note(box.take())
                case Remind():
                    self._asked.remind = at_once = True
                case Close():
                    going_on, at_once = False, True
                case _:
                    questions.append(command)
                    at_once = at_once or isinstance(command, AskStatistics | AskReplay)
        self._turn(at_once=at_once)
        for question in questions:
            self._answer(question)
        return going_on

    def _gather(self) -> list[Command]:
        """What has come, waiting for the first of it, though not beyond what is due."""
        commands: list[Command] = []
        wait_s = _PAUSE_S
        if self._retry_ns is None:
            now_s = time.monotonic()
            wait_s = min(wait_s, max(0.0, self._cadence.due_s(self._work, now_s) - now_s))
        try:
            commands.extend(self._commands.get(timeout=wait_s))
            while len(commands) < MOST_COMMANDS:
                commands.extend(self._commands.get_nowait())
        except Empty:
            pass
        return commands

    def _turn(self, *, at_once: bool) -> None:
        """Commit if it is time, and look after the file now and then, however much else comes."""
        now_s = time.monotonic()
        due = at_once or now_s >= self._cadence.due_s(self._work, now_s)
        if due or self._retry_ns is not None or now_s - self._tended_s >= _PAUSE_S:
            self._tended_s = now_s
            self._write(due=due)

    def _write(self, *, due: bool) -> None:
        now_ns = self._clock.now().monotonic_ns
        if self._retry_ns is None or now_ns >= self._retry_ns:
            try:
                self._commit(due=due)
            except DiskRefusedError as error:
                self._refused(error)
            except DamagedStoreError as error:
                self._replace(error)
        if self._retry_ns is not None:
            self._hold()
        if due or self._retry_ns is not None:
            self._release()

    def _commit(self, *, due: bool) -> None:
        store = self._store or self._open()
        store.keep(self._asked.until)
        news = self._asked.remind
        while due and self._work:
            part, left = self._work.split(max_bytes=_MOST_BYTES)
            began_ns = self._clock.now().monotonic_ns
            synced = store.write(part)
            self._cadence.committed(time.monotonic(), synced=synced)
            self._metrics.observe("outbox_commit_seconds", (self._clock.now().monotonic_ns - began_ns) / 1e9)
            self._metrics.gauge("outbox_batch_rows", len(part.drafts))
            news, self._work = news or bool(part.drafts), left
        store.follow(self._asked)
        self._asked.done()
        store.tidy_if_due(without=self._work.settled_keys)
        news = store.tell_losses() or news
        store.sync_if_due()
        if self._retry_ns is not None:
            self._retry_ns = None
            news = True
            log.info("outbox.disk_recovered")
        self._condition(store)
        if news:
            self._reports.news(store.next_key - 1)

    def _open(self) -> Store:
        store = self._open_store(first_key=self._first_key, broken=self._broken)
        self._store, self._broken = store, None
        self._reports.epoch(store.epoch, store.next_key - 1)
        return store

    def _replace(self, error: DamagedStoreError) -> None:
        """The file broke while it was in use. What was not committed yet goes into a new one."""
        if self._store is not None:
            # Keys that the loop still knows must name nothing in the new file.
            self._first_key = self._store.next_key
            self._store.abandon()
        self._store, self._broken = None, error.message
        self._work.forget_keys()
        try:
            self._open()
            self._commit(due=True)
        except (DiskRefusedError, DamagedStoreError) as again:
            self._refused(again)

    def _refused(self, error: DiskRefusedError | DamagedStoreError) -> None:
        if self._retry_ns is None:
            log.error("outbox.disk_refused", error=error.message)
        self._retry_ns = self._clock.now().monotonic_ns + _RETRY_NS
        self._say(
            "degraded", Code.DISK, f"the disk refuses: {error.message}; new messages are held in memory"
        )

    def _hold(self) -> None:
        """Keep to the bounds of memory, and let the producers go on."""
        dropped = self._work.shrink(max_bytes=self._held_bytes, max_keys=_MOST_HELD_KEYS)
        if dropped:
            log.warning("outbox.drafts_dropped", count=dropped, reason="disk")
        self._metrics.gauge("outbox_held_rows", len(self._work.drafts))

    def _release(self) -> None:
        rows, size = self._taken
        if rows:
            self._taken = (0, 0)
            self._reports.released(rows, size)

    def _condition(self, store: Store) -> None:
        """After a commit: all is well, or the disk has become smaller than the outbox may be."""
        self._metrics.gauge("outbox_held_rows", 0)
        self._metrics.gauge("outbox_rows", store.rows)
        self._metrics.gauge("outbox_bytes", store.bytes)
        self._metrics.gauge("outbox_limit_bytes", store.limit_bytes)
        if store.cramped:
            self._say(
                "degraded", Code.DISK, "the disk is full: before more can wait, the oldest will have to go"
            )
        else:
            self._say("ok", None, None)

    def _say(self, status: Status, code: str | None, message: str | None) -> None:
        if (status, code, message) != self._said:
            self._said = (status, code, message)
            self._reports.condition(status, code, message)

    def _answer(self, question: Question) -> None:
        match question:
            case Fetch(after, limit, answer):
                answer(self._fetch(after, limit))
            case AskStatistics(answer):
                answer(self._statistics())
            case NextSession(answer):
                answer(self._next_session())
            case AskReplay():
                question.answer(self._send_again(question))
            case never:
                assert_never(never)

    def _fetch(self, after: Mapping[Priority, int], limit: int) -> list[Row]:
        """Nothing where the disk gives nothing: when it does again, that is news."""
        if self._store is None:
            return []
        try:
            return self._store.fetch(after, limit, without=self._work.settled_keys)
        except DiskRefusedError as error:
            self._refused(error)
        except DamagedStoreError as error:
            self._replace(error)
        return []

    def _statistics(self) -> OutboxStatistics:
        if self._store is not None:
            try:
                self._last = self._store.statistics()
            except DiskRefusedError as error:
                self._refused(error)
            except DamagedStoreError as error:
                self._replace(error)
        return self._last

    def _send_again(self, asked: AskReplay) -> Replay | NanofleetError | None:
        if self._store is None or self._retry_ns is not None:
            return TransientError("the disk refuses; nothing can be sent again now", code=Code.DISK)
        try:
            found = self._store.replay(asked.stream, asked.epoch, asked.first, asked.last)
        except DiskRefusedError as error:
            self._refused(error)
            return error
        except DamagedStoreError as error:
            self._replace(error)
            return error
        if found is not None and found.rows:
            self._reports.news(self._store.next_key - 1)
        return found

    def _next_session(self) -> int:
        """Without a disk the node still says that it is there, with a number that is not kept."""
        if self._store is not None:
            try:
                self._session = self._store.next_session(above=self._session)
            except DiskRefusedError as error:
                self._refused(error)
            except DamagedStoreError as error:
                self._replace(error)
            else:
                return self._session
        self._session = max(self._session + 1, 0 if self._store else self._clock.now().wall_ns // 10**9)
        log.warning("outbox.session_not_kept", session=self._session)
        return self._session

    def _stop(self) -> None:
        """What can still be written is; a disk that refuses gets one more chance."""
        refused = self._retry_ns is not None
        self._retry_ns = None
        if refused:
            self._write(due=True)
        store = self._store
        try:
            if store is not None and not self._work:
                store.close()
        except (DiskRefusedError, DamagedStoreError) as error:
            log.warning("outbox.close_failed", error=error.message)
        if self._work:
            log.error("outbox.drafts_dropped", count=len(self._work.drafts), reason="closed")
        if store is not None:
            store.abandon()
