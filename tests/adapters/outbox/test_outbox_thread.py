"""The event loop is never held up, callers are never reordered, and losing the thread is noticed."""

import asyncio
import threading
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from agent.adapters.outbox.commands import Append
from agent.adapters.outbox.intake import Intake
from agent.adapters.outbox.sqlite import QUEUE_ROWS
from agent.adapters.system.clock import SystemClock
from agent.domain.errors import Code, TransientError
from tests.adapters.outbox.rigs import draft, fill, message, opened, outbox_at, seqs, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.polling import until


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


async def test_no_call_blocks_the_event_loop(path: Path) -> None:
    clock = SystemClock()
    blockbuster = BlockBuster()
    blockbuster.activate()
    try:
        outbox = await opened(path, clock=clock)
        await fill(outbox, clock, "event", 50)
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows[:20]])
        outbox.refuse(rows[30].key, reason="refused", code=None)
        await outbox.next_session()
        await outbox.committed()
        statistics = await outbox.statistics()
        await outbox.close()
    finally:
        blockbuster.deactivate()
    assert statistics.acknowledged == 20


async def test_many_callers_at_once_are_each_served_in_their_order(path: Path, clock: FakeClock) -> None:
    """More than the queue takes: whoever has to wait is not overtaken."""
    async with outbox_at(path, clock=clock) as outbox:

        async def caller(name: str) -> None:
            for number in range(700):
                await outbox.append(draft(clock, number=number, stream=f"detections/{name}"))

        async with asyncio.TaskGroup() as group:
            for name in ("a", "b", "c", "d"):
                group.create_task(caller(name), name=name)
        rows = await waiting(outbox)
        for name in ("a", "b", "c", "d"):
            own = [row for row in rows if row.stream == f"detections/{name}"]
            assert [row.seq for row in own] == [message(row)["number"] for row in own] == list(range(700))


async def test_one_stream_filled_by_many_callers_is_committed_in_order_of_their_calls(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        async with asyncio.TaskGroup() as group:
            for number in range(3_000):
                group.create_task(outbox.append(draft(clock, number=number)), name=f"{number}")
        rows = await waiting(outbox)
        assert [message(row)["number"] for row in rows] == seqs(rows) == list(range(3_000))


async def test_strict_messages_are_synced_with_their_commit_and_bulk_ones_rarely(
    path: Path, clock: FakeClock
) -> None:
    metrics = FakeMetrics()
    async with outbox_at(path, clock=clock, metrics=metrics) as outbox:
        for priority in ("detection", "event", "result"):  # each raises its stream's ceiling, once for many
            await fill(outbox, clock, priority, 1)
        before = metrics.counts["outbox_syncs_total"]
        for _ in range(20):
            await fill(outbox, clock, "detection", 1)
        assert metrics.counts["outbox_syncs_total"] == before
        await fill(outbox, clock, "event", 1)
        await fill(outbox, clock, "result", 1)
        assert metrics.counts["outbox_syncs_total"] == before + 2
        await fill(outbox, clock, "detection", 1)
        clock.advance(11)
        await outbox.statistics()
        assert metrics.counts["outbox_syncs_total"] == before + 3


async def test_the_thread_ticks_while_it_is_idle(path: Path, clock: FakeClock) -> None:
    ticks: list[str] = []
    async with outbox_at(path, clock=clock, on_tick=lambda: ticks.append(threading.current_thread().name)):
        await until(lambda: len(ticks) >= 3)
    assert set(ticks) == {"outbox"}


class _BrokenClock(FakeClock):
    """Works until it is broken: a mistake of ours, as the database thread would meet it."""

    broken = False

    def synced(self) -> bool:
        if self.broken:
            raise ZeroDivisionError
        return super().synced()


class _HangingClock(FakeClock):
    """Asked inside a write, it holds the database thread up as a disk does that hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def synced(self) -> bool:
        if threading.current_thread().name == "outbox":
            self.answers.wait(timeout=30)
        return super().synced()


async def test_a_disk_that_hangs_is_told_and_costs_neither_the_loop_nor_memory(path: Path) -> None:
    told: list[tuple[str, str | None, str | None]] = []
    clock = _HangingClock()
    outbox = await opened(
        path, clock=clock, hangs_after_s=0.2, on_condition=lambda *condition: told.append(condition)
    )
    try:
        await fill(outbox, clock, "event", 3)
        clock.answers.clear()
        accepted = 0

        async def produce() -> None:
            nonlocal accepted
            for number in range(QUEUE_ROWS + 500):
                await outbox.append(draft(clock, number=number))
                accepted += 1

        async with asyncio.TaskGroup() as group:
            producer = group.create_task(produce(), name="produce")
            asking = [group.create_task(outbox.statistics(), name=f"ask-{n}") for n in range(64)]
            await until(lambda: bool(told) and told[-1][0] == "degraded")
            assert "has not answered for 0.2 s" in str(told[-1][2])
            assert not producer.done()
            assert accepted <= QUEUE_ROWS
            with pytest.raises(TransientError, match="64 questions wait already"):
                await outbox.statistics()
            clock.answers.set()
        assert all(task.done() for task in asking)
        assert told[-1] == ("ok", None, None)
        assert seqs(await waiting(outbox)) == list(range(QUEUE_ROWS + 500))
    finally:
        clock.answers.set()
        await outbox.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_the_death_of_the_thread_is_told_to_whoever_watches_and_asks(path: Path) -> None:
    clock = _BrokenClock()
    outbox = await opened(path, clock=clock)
    clock.broken = True
    await outbox.append(draft(clock))
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await outbox.ended()
        with pytest.raises(TransientError, match="closed"):
            await outbox.statistics()
        with pytest.raises(TransientError, match="closed"):
            await outbox.next_session()
        await outbox.close()
    await until(lambda: all(thread.name != "outbox" for thread in threading.enumerate()))


async def test_metrics_tell_commits_fill_and_losses(path: Path, clock: FakeClock) -> None:
    metrics = FakeMetrics()
    async with outbox_at(path, clock=clock, metrics=metrics) as outbox:
        await fill(outbox, clock, "detection", 3)
        row = (await waiting(outbox))[0]
        outbox.refuse(row.key, reason="refused", code=0x87)
        statistics = await outbox.statistics()
        assert metrics.gauges["outbox_rows"] == statistics.rows == 3
        assert metrics.gauges["outbox_bytes"] == statistics.bytes
        assert metrics.observed["outbox_commit_seconds"]
        assert metrics.counts["lost_total reason=refused stream=detections/door"] == 1


def item(size: int = 1) -> Append:
    return Append(draft(FakeClock(), number=size), size)


async def test_a_full_intake_makes_callers_wait_until_there_is_room() -> None:
    passed: list[int] = []
    intake = Intake(max_rows=2, max_bytes=100, pass_on=lambda one: passed.append(one.size))
    await intake.put(item(1))
    await intake.put(item(2))
    late = [asyncio.create_task(intake.put(item(size)), name=f"{size}") for size in (3, 4)]
    await asyncio.sleep(0)
    assert passed == [1, 2]
    intake.release(1, 1)
    assert passed == [1, 2, 3]
    intake.release(2, 5)
    await asyncio.gather(*late)
    assert passed == [1, 2, 3, 4]


async def test_an_item_larger_than_the_intake_passes_alone() -> None:
    passed: list[int] = []
    intake = Intake(max_rows=10, max_bytes=100, pass_on=lambda one: passed.append(one.size))
    await intake.put(item(50))
    large = asyncio.create_task(intake.put(item(500)), name="large")
    await asyncio.sleep(0)
    assert passed == [50]
    intake.release(1, 50)
    await large
    assert passed == [50, 500]


async def test_a_caller_that_gives_up_waiting_is_not_served() -> None:
    passed: list[int] = []
    intake = Intake(max_rows=1, max_bytes=100, pass_on=lambda one: passed.append(one.size))
    await intake.put(item(1))
    impatient = asyncio.create_task(intake.put(item(2)), name="impatient")
    patient = asyncio.create_task(intake.put(item(3)), name="patient")
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    intake.release(1, 1)
    await patient
    assert passed == [1, 3]


async def test_closing_the_intake_tells_everyone_who_waits() -> None:
    intake = Intake(max_rows=1, max_bytes=100, pass_on=lambda _: None)
    await intake.put(item(1))
    stuck = asyncio.create_task(intake.put(item(2)), name="stuck")
    await asyncio.sleep(0)
    intake.close(TransientError("closed", code=Code.DISK))
    with pytest.raises(TransientError):
        await stuck
    with pytest.raises(TransientError):
        await intake.put(item(3))
