"""The outbox as the event loop sees it: an adapter that fulfils `ports.Outbox`."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import structlog

from agent.adapters.outbox.bounds import Bounds
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
    Remind,
    Reports,
)
from agent.adapters.outbox.consumer import AckBox
from agent.adapters.outbox.intake import Intake
from agent.adapters.outbox.kept import ConsumerAck
from agent.adapters.outbox.opening import lock
from agent.adapters.outbox.passage import Passage
from agent.adapters.outbox.patience import Patience
from agent.adapters.outbox.rows import size_of
from agent.adapters.outbox.store import Store, open_store
from agent.adapters.outbox.wear import CARD_ENDURANCE_BYTES, Wear
from agent.adapters.outbox.work import Refusal
from agent.adapters.outbox.writer import Writer
from agent.contract.topics import Topics
from agent.domain.errors import Code, NanofleetError, TransientError
from agent.domain.ids import Stream
from agent.ports import Clock, Draft, KeepUntil, Metrics, OutboxStatistics, Priority, Replay, Row, Status

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

QUEUE_ROWS: Final = 1_024
QUEUE_BYTES: Final = 16 << 20
HELD_BYTES: Final = 16 << 20
"""What is held in memory while the disk refuses; beyond it drafts are dropped, and declared later."""

ANSWER_WITHIN_S: Final = 30.0
"""A disk that takes longer than this for one answer is as good as gone."""
_HANGS_AFTER_S: Final = 5.0
_MOST_ASKED: Final = 64
"""Questions without an answer: whoever has given up waiting asks again, and a disk may hang for hours."""
CLOSE_WITHIN_S: Final = 1.5


class SqliteOutbox:
    """One file, one daemon thread that owns it. Made by `open`; used on the loop that opened it.

    What is appended, acknowledged or refused is gathered: see `Cadence`. Asking for statistics commits all
    that came before. Durability: a commit outlives `kill -9` at once. Losses, events and results are synced
    with their own commit, everything else with them or within 10 s: until then a power cut may undo it, which
    is declared as a loss of reason `damaged` when the outbox is opened again, and never gives a number twice.
    """

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        site: str,
        node: str,
        clock: Clock,
        metrics: Metrics,
        bounds: Bounds,
        commit_interval_s: float,
        keep_until: KeepUntil = "acknowledged",
        on_condition: Callable[[Status, str | None, str | None], None] = lambda *_: None,
        on_tick: Callable[[], None] = lambda: None,
        held_bytes: int = HELD_BYTES,
        card_endurance_bytes: float = CARD_ENDURANCE_BYTES,
        hangs_after_s: float = _HANGS_AFTER_S,
    ) -> Self:
        """Open the file at `path`, or begin it. A damaged one is replaced; a disk that refuses is waited for.

        What follows on each other faster than `commit_interval_s` is committed together. `on_condition` is
        called on the loop, on change, with what `ports.Condition` takes after `who`; `on_tick` from the
        database thread, at least every half second while the disk answers. One that leaves a question
        without an answer for `hangs_after_s` is told as degraded.

        Raises:
            ConfigError: another agent has the file, it may not be written, or a newer agent's cannot be used.
            TransientError: no answer from the disk in time.
        """
        outbox = cls(
            path=path,
            topics=Topics(site, node),
            clock=clock,
            metrics=metrics,
            bounds=bounds,
            keep_until=keep_until,
            on_condition=on_condition,
            on_tick=on_tick,
            held_bytes=held_bytes,
            commit_interval_s=commit_interval_s,
            wear=Wear(metrics=metrics, endurance_bytes=card_endurance_bytes),
            hangs_after_s=hangs_after_s,
        )
        await outbox._in_time(outbox._opened, "opening the outbox")
        return outbox

    def __init__(
        self,
        *,
        path: Path,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        bounds: Bounds,
        keep_until: KeepUntil,
        on_condition: Callable[[Status, str | None, str | None], None],
        on_tick: Callable[[], None],
        held_bytes: int,
        commit_interval_s: float,
        wear: Wear,
        hangs_after_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._lock: int | None = None
        self._epoch = ""
        self._patience = Patience(on_condition)
        self._hangs_after_s = hangs_after_s
        self._asked = 0
        self._newest_key = 0
        self._news = asyncio.Event()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._commands = Passage(self._loop)
        self._acks = AckBox()
        self.keep(keep_until)
        self._intake = Intake(max_rows=QUEUE_ROWS, max_bytes=QUEUE_BYTES, pass_on=self._commands.put)

        def open_locked(*, first_key: int, broken: str | None) -> Store:
            if self._lock is None:
                self._lock = lock(path)
            return open_store(
                path,
                topics=topics,
                clock=clock,
                metrics=metrics,
                bounds=bounds,
                wear=wear,
                first_key=first_key,
                broken=broken,
            )

        writer = Writer(
            commands=self._commands.queue,
            open_store=open_locked,
            clock=clock,
            metrics=metrics,
            reports=self._reports(),
            on_tick=on_tick,
            held_bytes=held_bytes,
            commit_interval_s=commit_interval_s,
        )
        threading.Thread(target=writer.run, name="outbox", daemon=True).start()

    @property
    def epoch(self) -> str:
        """Of the rows that are committed now. Empty only while the disk has never let the file be opened."""
        return self._epoch

    @property
    def newest_key(self) -> int:
        return self._newest_key

    async def append(self, draft: Draft) -> None:
        """As the port says. Raises: TransientError (the outbox is closed)."""
        await self._intake.put(Append(draft, size_of(draft)))

    async def committed(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def fetch(self, *, after: Mapping[Priority, int], limit: int) -> list[Row]:
        """As the port says. Raises: TransientError (closed, or no answer in time)."""
        cursors = dict(after)
        return await self._ask(lambda answer: Fetch(cursors, limit, answer), "fetching from the outbox")

    def acknowledge(self, keys: Sequence[int]) -> None:
        self._commands.put(Acknowledge(tuple(keys)))

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None:
        self._commands.put(Refusal(key, reason, code))

    def keep(self, until: KeepUntil) -> None:
        self._commands.put(Keep(until))

    def stored(self, stream: Stream, epoch: str, seq: int) -> None:
        if self._acks.put(ConsumerAck(stream, epoch, seq)):
            self._commands.put(LookAtAcks(self._acks))

    def remind(self) -> None:
        self._commands.put(Remind())

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """As the port says. Raises: TransientError (closed, no answer in time, or the disk refuses)."""
        found: Replay | NanofleetError | None = await self._ask(
            lambda answer: AskReplay(stream, epoch, first, last, answer), "having rows sent again"
        )
        if isinstance(found, NanofleetError):
            raise found
        return found

    async def statistics(self) -> OutboxStatistics:
        """As the port says. Raises: TransientError (closed, or no answer in time)."""
        return await self._ask(AskStatistics, "asking for the outbox's statistics")

    async def next_session(self) -> int:
        """As the port says; while the disk refuses, a number that is not kept.

        Raises:
            TransientError: closed, or no answer in time.
        """
        return await self._ask(NextSession, "counting a session")

    async def ended(self) -> None:
        """Wait until the database thread has ended; raises what it died of, if it did not end in order."""
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        self._intake.close(self._gone())
        self._commands.put(Close())
        done, _ = await asyncio.wait([self._ended], timeout=CLOSE_WITHIN_S)
        if not done:
            log.error("outbox.close_timed_out", path=str(self._path), after_s=CLOSE_WITHIN_S)

    async def _ask(self, command: Callable[[Callable[[Answer], None]], Command], what: str) -> Answer:
        if self._ended.done():
            raise self._gone()
        if self._asked >= _MOST_ASKED:
            raise TransientError(
                f"{what} at {self._path}: {self._asked} questions wait already; the disk does not answer",
                code=Code.TIMEOUT,
                path=str(self._path),
            )
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._asked += 1
        self._commands.put(command(lambda value: self._post(self._on_answer, answer, value)))
        return await self._in_time(answer, what)

    async def _in_time(self, answer: "asyncio.Future[Answer]", what: str) -> Answer:
        try:
            either: list[asyncio.Future[Any]] = [answer, self._ended]
            async with asyncio.timeout(ANSWER_WITHIN_S):
                done, _ = await asyncio.wait(
                    either, timeout=self._hangs_after_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._patience.waited(self._hangs_after_s)
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise TransientError(
                f"{what} at {self._path} took longer than {ANSWER_WITHIN_S:g} s; the disk does not answer",
                code=Code.TIMEOUT,
                path=str(self._path),
            ) from error
        if not answer.done():
            raise self._gone() from self._ended.exception()
        return answer.result()

    def _gone(self) -> TransientError:
        return TransientError(f"the outbox at {self._path} is closed", code=Code.DISK, path=str(self._path))

    def _reports(self) -> Reports:
        return Reports(
            opened=lambda error: self._post(self._on_opened, error),
            epoch=lambda epoch, newest_key: self._post(self._on_epoch, epoch, newest_key),
            released=lambda rows, size: self._post(self._on_released, rows, size),
            news=lambda newest_key: self._post(self._on_news, newest_key),
            condition=lambda *condition: self._post(self._patience.said, *condition),
            ended=self._on_ended,
        )

    def _post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have the loop make the call. From the database thread."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    def _on_opened(self, error: NanofleetError | None) -> None:
        if not self._opened.done():
            _resolve(self._opened, None, error)

    def _on_epoch(self, epoch: str, newest_key: int) -> None:
        self._epoch = epoch
        self._on_news(newest_key)

    def _on_answer(self, answer: "asyncio.Future[Any]", value: object) -> None:
        self._asked -= 1
        self._patience.answered()
        _resolve(answer, value)

    def _on_released(self, rows: int, size: int) -> None:
        self._patience.answered()
        self._intake.release(rows, size)

    def _on_news(self, newest_key: int) -> None:
        self._newest_key = newest_key
        self._news.set()

    def _on_ended(self, error: BaseException | None) -> None:
        """From the database thread, as the last thing."""
        if self._lock is not None:
            os.close(self._lock)
        self._post(_resolve, self._ended, None, error)


def _resolve(future: "asyncio.Future[Any]", value: object, error: BaseException | None = None) -> None:
    if future.done():  # whoever asked has gone
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
