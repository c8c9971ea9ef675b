"""Sources: each in a daemon thread of its own, each restarted alone, a hung one abandoned."""

import asyncio
import threading
from collections.abc import Callable
from time import thread_time_ns
from typing import Generic, Protocol, TypeVar

import structlog

from agent.domain.errors import Code, ConfigError, NanofleetError, RefusedError, TransientError
from agent.domain.ids import SourceName
from agent.pipeline.backoff import Backoff
from agent.pipeline.intake import Intake
from agent.pipeline.supervise import start_thread
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Condition, Metrics, Status

log = structlog.get_logger(__name__)

MOST_HUNG_THREADS = 3
"""Abandoned threads keep their memory; when so many of one source hang, the process is started afresh."""

_POLL_S = 0.25
HANG_GRACE_S = 2.0
"""Beyond a source's own patience."""

PROVEN_S = 10.0
"""A source that breaks sooner after its first item has not recovered: the next wait is longer again."""

Item = TypeVar("Item")
Captured_co = TypeVar("Captured_co", covariant=True)


class BlockingSource(Protocol[Captured_co]):
    """What frame sources and reading sources have in common."""

    @property
    def patience_s(self) -> float: ...

    def open(self) -> None: ...

    def read(self) -> Captured_co | None: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class HungSourceError(NanofleetError):
    """Too many threads of one source hang in their library: only a new process gives their memory back."""


class _Attempt(Generic[Item]):
    """One life of a source: make, open, read until the end, close. Runs in its own thread."""

    def __init__(
        self,
        *,
        name: SourceName,
        make: Callable[[], BlockingSource[Item]],
        intake: Intake[Item],
        clock: Clock,
        on_first: Callable[[], None],
        on_decoded: Callable[[float], None],
        grace_s: float,
    ) -> None:
        self._on_decoded = on_decoded
        self._make = make
        self._source: BlockingSource[Item] | None = None
        self._grace_s = grace_s
        self._intake = intake
        self._clock = clock
        self._on_first = on_first
        self._stop = threading.Event()
        self._in_call_since_ns: int | None = None
        self.ended = start_thread(f"capture[{name}]", self._live)

    def stop(self) -> None:
        """End after the present call; if that never returns, its item goes nowhere."""
        self._stop.set()
        if self._source is not None:
            self._source.interrupt()

    @property
    def patience_s(self) -> float:
        return 0.0 if self._source is None else self._source.patience_s

    def is_hung(self) -> bool:
        since_ns = self._in_call_since_ns
        limit_s = self.patience_s + self._grace_s
        return since_ns is not None and (self._clock.now().monotonic_ns - since_ns) / 1e9 > limit_s

    def _live(self) -> None:
        source = self._source = self._make()
        # Whoever told us to stop before there was a source could not interrupt it.
        if self._stop.is_set():
            return
        try:
            self._timed(source.open)
            first = True
            while not self._stop.is_set():
                began_ns = thread_time_ns()
                item = self._timed(source.read)
                if item is None or self._stop.is_set():
                    return
                self._on_decoded((thread_time_ns() - began_ns) / 1e9)
                if first:
                    first = False
                    self._on_first()
                if not self._intake.accept(item):
                    return
        finally:
            self._timed(source.close)

    def _timed(self, call: Callable[[], Item | None]) -> Item | None:
        self._in_call_since_ns = self._clock.now().monotonic_ns
        try:
            return call()
        finally:
            self._in_call_since_ns = None


class Capture(Generic[Item]):
    """Keeps one source going until it ends by itself or is told to stop.

    `make` builds a fresh source for each attempt, in its thread, for it may read a secret's file. `intake`
    takes what was captured, in the capture thread, and may wait there (that is how a full mailbox holds a
    file back).
    """

    def __init__(
        self,
        *,
        name: SourceName,
        make: Callable[[], BlockingSource[Item]],
        intake: Intake[Item],
        backoff: Backoff,
        clock: Clock,
        metrics: Metrics,
        on_condition: Condition,
        hang_grace_s: float = HANG_GRACE_S,
        proven_s: float = PROVEN_S,
    ) -> None:
        self._name = name
        self._proven_ns = int(proven_s * 1e9)
        self._alive_since_ns: int | None = None
        self._hang_grace_s = hang_grace_s
        self._make = make
        self._intake = intake
        self._backoff = backoff
        self._clock = clock
        self._metrics = metrics
        self._on_condition = on_condition
        self._stopping = asyncio.Event()
        self._hung: list[asyncio.Future[None]] = []

    def stop(self) -> None:
        """Capture nothing more; `run` returns when the thread has come back or is abandoned."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises: HungSourceError, when the source hung for the third time."""
        self._on_condition(self._name, "waiting", None, "opening")
        while not self._stopping.is_set():
            try:
                await self._live_once()
            except (TransientError, RefusedError, ConfigError) as error:
                if isinstance(error, RefusedError) and error.code == Code.ENDED:
                    # It would only be read again from its beginning, and end at the same place.
                    log.warning("source.broken_off", source=self._name, message=error.message)
                    self._on_condition(self._name, "failed", error.code, error.message)
                    return
                # ConfigError: a secret's file is away, perhaps being renewed; this source's trouble only.
                if self._is_proven():
                    self._backoff.reset()
                delay_s = self._backoff.next_delay_s()
                status: Status = "waiting" if isinstance(error, TransientError) else "failed"
                self._on_condition(self._name, status, error.code, error.message)
                self._metrics.count("source_restarts_total", source=self._name, code=error.code)
                log.warning(
                    "source.failed",
                    source=self._name,
                    code=error.code,
                    message=error.message,
                    retry_in_s=round(delay_s, 2),
                )
                await wait_for_event(self._stopping, timeout_s=delay_s)
            else:
                if not self._stopping.is_set():
                    log.info("source.ended", source=self._name)
                    self._on_condition(self._name, "ok", None, "ended")
                return

    async def _live_once(self) -> None:
        """One attempt; returns when the source ended by itself, or was told to."""
        loop = asyncio.get_running_loop()
        self._alive_since_ns = None
        self._intake.restart()
        attempt = _Attempt(
            name=self._name,
            make=self._make,
            intake=self._intake,
            clock=self._clock,
            on_first=lambda: _tell(loop, self._came_alive),
            on_decoded=lambda seconds: self._metrics.observe("stage_seconds", seconds, stage="capture"),
            grace_s=self._hang_grace_s,
        )
        ended = asyncio.wrap_future(attempt.ended)
        ended.add_done_callback(_mark_retrieved)
        told_to_stop = False
        while not ended.done():
            await asyncio.wait([ended], timeout=_POLL_S)
            if self._stopping.is_set() and not told_to_stop:
                told_to_stop = True
                attempt.stop()
            if attempt.is_hung() and not ended.done():
                attempt.stop()
                self._abandon(ended, attempt.patience_s)
        error = ended.exception()
        if error is None:
            return
        if isinstance(error, NanofleetError):
            raise error
        # Not foreseen by the adapter, yet one source's trouble: it is restarted, and the trace is kept.
        log.error("source.crashed", source=self._name, exc_info=error)
        raise TransientError(f"{type(error).__name__}: {error}", code=Code.INTERNAL) from error

    def _came_alive(self) -> None:
        self._alive_since_ns = self._clock.now().monotonic_ns
        self._on_condition(self._name, "ok", None, None)
        log.info("source.opened", source=self._name)

    def _is_proven(self) -> bool:
        since_ns = self._alive_since_ns
        return since_ns is not None and self._clock.now().monotonic_ns - since_ns >= self._proven_ns

    def _abandon(self, ended: "asyncio.Future[None]", patience_s: float) -> None:
        self._hung = [thread for thread in self._hung if not thread.done()] + [ended]
        self._metrics.count("source_hangs_total", source=self._name)
        log.error("source.hung", source=self._name, patience_s=patience_s, hung_threads=len(self._hung))
        message = f"no answer within {patience_s:.0f} s; its thread was abandoned"
        if len(self._hung) >= MOST_HUNG_THREADS:
            raise HungSourceError(f"source {self._name}: {message}", code=Code.TIMEOUT)
        raise TransientError(message, code=Code.TIMEOUT)


def _mark_retrieved(ended: "asyncio.Future[None]") -> None:
    if not ended.cancelled():
        ended.exception()


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(what)
