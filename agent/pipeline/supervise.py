"""Who is alive: threads whose end is noticed, stages whose tick is watched, stops that have a deadline."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Metrics

log = structlog.get_logger(__name__)

Outcome = TypeVar("Outcome")

STALL_S = 5.0
"""A stage whose tick is older than this has stalled, and the watchdog is not fed."""

_YIELDING_NICENESS = 5
"""With both cores inferring, the loop's lag at the 99th percentile fell from 4.5-5.7 to 3.1 ms, at the same
rate of frames; 2 gave 3.7-4.6."""

_LAG_SAMPLE_S = 0.02
_WAITING_TICK_S = 1.0


def start_thread(name: str, work: Callable[[], Outcome], *, yields: bool = False) -> "Future[Outcome]":
    """Run `work` in a daemon thread; the future tells its end, whatever that is.

    A daemon, because decoding libraries block and cannot be cancelled: the process must be able to leave.
    With `yields` it lets the loop, captures and network go first, and so do threads that it starts.
    """
    ended: Future[Outcome] = Future()
    ended.set_running_or_notify_cancel()

    def run() -> None:
        try:
            if yields:
                # A thread's own niceness, which Linux keeps apart from the process's.
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _YIELDING_NICENESS)
            outcome = work()
        except BaseException as error:  # a thread's error belongs to whoever watches its future
            ended.set_exception(error)
        else:
            ended.set_result(outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return ended


async def in_thread(name: str, work: Callable[[], Outcome], *, yields: bool = False) -> Outcome:
    """Await what `work` returns or raises, while the loop goes on. Cancelled, it is left to itself."""
    return await asyncio.wrap_future(start_thread(name, work, yields=yields))


class Ticks:
    """When each stage last showed that it lives. Any thread may tick; stages that wait tick while waiting."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last_ns: dict[str, int] = {}

    def tick(self, stage: str) -> None:
        self._last_ns[stage] = self._clock.now().monotonic_ns

    def retire(self, stage: str) -> None:
        """The stage has ended in order and is watched no more."""
        self._last_ns.pop(stage, None)

    def ages_s(self) -> dict[str, float]:
        now_ns = self._clock.now().monotonic_ns
        return {stage: (now_ns - last_ns) / 1e9 for stage, last_ns in list(self._last_ns.items())}

    def stalled(self) -> list[str]:
        """The stages whose last tick is older than `STALL_S`."""
        return sorted(stage for stage, age_s in self.ages_s().items() if age_s > STALL_S)


async def feed_watchdog(
    *,
    ticks: Ticks,
    interval_s: float,
    feed: Callable[[], None],
    on_stall: Callable[[bool], None],
    stop: asyncio.Event,
) -> None:
    """Feed the service manager's watchdog while no stage has stalled; name those that have.

    `on_stall` hears when something stalls, and when everything goes on again.
    """
    told: list[str] = []
    while not stop.is_set():
        ticks.tick("loop")
        stalled = ticks.stalled()
        if not stalled:
            feed()
        elif stalled != told:
            log.error("watchdog.stage_stalled", stages=stalled)
        if bool(stalled) != bool(told):
            on_stall(bool(stalled))
        told = stalled
        await wait_for_event(stop, timeout_s=interval_s)


async def measure_loop_lag(*, clock: Clock, metrics: Metrics, stop: asyncio.Event) -> None:
    """How late the loop wakes us, again and again: its longest block shows here."""
    while not stop.is_set():
        before_ns = clock.now().monotonic_ns
        await asyncio.sleep(_LAG_SAMPLE_S)
        late_ns = clock.now().monotonic_ns - before_ns - int(_LAG_SAMPLE_S * 1e9)
        metrics.observe("loop_lag_seconds", max(late_ns, 0) / 1e9)


async def accompany(
    main: Coroutine[Any, Any, None], companions: Mapping[str, Coroutine[Any, Any, None]]
) -> None:
    """Run `main` in this task, and beside it its companions, by the names of their tasks.

    They are cancelled when it ends; an error of any of them ends all, and is raised in an ExceptionGroup.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(companion, name=name) for name, companion in companions.items()]
        try:
            await main
        finally:
            for task in tasks:
                task.cancel()


async def ticking(ticks: Ticks, stage: str, answer: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Await `answer` while `stage` shows that it lives: who waits for the disk does not stand still."""
    waiting = asyncio.get_running_loop().create_task(answer, name=f"{stage}[waiting]")
    try:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=_WAITING_TICK_S)
            ticks.tick(stage)
        return waiting.result()
    finally:
        waiting.cancel()


async def unless(stop: asyncio.Event, name: str, work: Coroutine[Any, Any, Outcome]) -> Outcome | None:
    """What `work` returns or raises; None as soon as `stop` is set, and `work` is cancelled."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work, name=name)
    stopping = loop.create_task(stop.wait(), name=f"{name}[stop]")
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()


async def attempt(name: str, work: Coroutine[Any, Any, Outcome], *, timeout_s: float) -> Outcome:
    """What `work` returns, in a task of that name.

    Raises:
        NanofleetError: it raised that; or it took too long (E_TIMEOUT), and was cancelled; or it raised what
            nobody foresaw (E_INTERNAL), which is in the log.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            raise TransientError(f"it was not done within {timeout_s:g} s", code=Code.TIMEOUT)
        if task.cancelled():
            raise TransientError("it was broken off", code=Code.INTERRUPTED)
        error = task.exception()
        if error is None or isinstance(error, NanofleetError) or not isinstance(error, Exception):
            return task.result()
        log.error("attempt.crashed", what=name, exc_info=error)
        raise RefusedError("the agent itself is at fault; its log has more", code=Code.INTERNAL) from error
    finally:
        task.cancel()


async def within(deadline_s: float, what: str, ending: Awaitable[object]) -> bool:
    """Await `ending` for at most `deadline_s`; False, and a line in the log, if it did not make it."""
    try:
        async with asyncio.timeout(deadline_s):
            await ending
    except TimeoutError:
        log.warning("stop.deadline_missed", stage=what, deadline_s=deadline_s)
        return False
    return True


async def all_ended(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Wait until every task has ended; their errors are the TaskGroup's business."""
    pending = list(tasks)
    if pending:
        await asyncio.wait(pending)
