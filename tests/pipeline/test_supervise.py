"""Who is alive."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.pipeline.announcements import Announcements
from agent.pipeline.supervise import (
    STALL_S,
    Ticks,
    feed_watchdog,
    in_thread,
    start_thread,
    ticking,
    unless,
    within,
)
from agent.ports import Publication
from tests.fakes.clock import FakeClock
from tests.polling import until


def test_ticks_name_the_stages_that_stand_still() -> None:
    clock = FakeClock()
    ticks = Ticks(clock=clock)
    for stage in ("delivery", "eventing", "lane-0"):
        ticks.tick(stage)
    clock.advance(STALL_S + 1)
    ticks.tick("eventing")
    ticks.retire("lane-0")

    assert ticks.stalled() == ["delivery"]


async def test_watchdog_is_starved_while_a_stage_stands_still() -> None:
    clock = FakeClock()
    ticks = Ticks(clock=clock)
    fed: list[int] = []
    stalls: list[bool] = []
    stop = asyncio.Event()
    ticks.tick("delivery")
    watchdog = asyncio.ensure_future(
        feed_watchdog(
            ticks=ticks, interval_s=0.005, feed=lambda: fed.append(1), on_stall=stalls.append, stop=stop
        )
    )
    await until(lambda: len(fed) > 2)
    clock.advance(STALL_S + 1)
    await asyncio.sleep(0.02)
    before = len(fed)
    await asyncio.sleep(0.05)
    assert len(fed) <= before + 1

    ticks.tick("delivery")
    await until(lambda: len(fed) > before + 3)
    stop.set()
    await asyncio.wait_for(watchdog, timeout=5)
    assert stalls == [True, False]


def test_end_of_a_thread_is_never_silent() -> None:
    def fail() -> None:
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        start_thread("worker", fail).result(timeout=5)
    assert start_thread("worker", lambda: None).result(timeout=5) is None


async def test_who_waits_for_an_answer_shows_that_it_lives() -> None:
    clock = FakeClock()
    ticks = Ticks(clock=clock)
    ticks.tick("eventing")
    answered = asyncio.Event()

    async def answer() -> int:
        await answered.wait()
        return 42

    async def slow_disk() -> None:
        for _ in range(3):
            clock.advance(STALL_S - 1)
            await until(lambda: ticks.stalled() == [] and ticks.ages_s()["eventing"] == 0.0)
        answered.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(slow_disk())
        assert await ticking(ticks, "eventing", answer()) == 42


async def test_deadline_is_kept_and_told() -> None:
    assert await within(1.0, "quick", asyncio.sleep(0))
    assert not await within(0.01, "slow", asyncio.sleep(30))


def publication(topic: str, payload: bytes, *, qos: int = 1) -> Publication:
    return Publication(topic, payload, qos=qos, retain=qos == 1)  # type: ignore[arg-type]


async def test_announcements_tell_changes_once_and_everything_at_birth() -> None:
    announcements = Announcements()
    announcements.retain(publication("a", b"1"))
    announcements.retain(publication("b", b"1"))
    announcements.remark(publication("beat", b"x", qos=0))

    assert [(p.topic, p.payload) for p in announcements.birth()] == [("a", b"1"), ("b", b"1")]
    announcements.retain(publication("a", b"1"))
    assert announcements.take() == []

    announcements.retain(publication("a", b"2"))
    announcements.retain(publication("a", b"3"))
    announcements.remark(publication("beat", b"y", qos=0))
    await asyncio.wait_for(announcements.news(), timeout=5)
    assert [p.payload for p in announcements.take()] == [b"3", b"y"]
    assert [p.payload for p in announcements.birth()] == [b"3", b"1"]


async def test_remarks_are_bounded() -> None:
    announcements = Announcements()
    for number in range(1_000):
        announcements.remark(publication("log", str(number).encode(), qos=0))
    remarks = announcements.take()
    assert len(remarks) == 100
    assert remarks[-1].payload == b"999"


async def test_in_thread_that_yields_is_nicer_than_the_loop_and_so_are_the_threads_it_starts() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def niceness_of_a_child() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(niceness).result()

    loop = niceness()

    assert await in_thread("plain", niceness) == loop
    assert await in_thread("yielding", niceness, yields=True) > loop
    assert await in_thread("yielding", niceness_of_a_child, yields=True) > loop
    assert niceness() == loop


async def test_work_is_let_go_as_soon_as_stop_is_asked_for_and_else_gives_what_it_has() -> None:
    stop, gate = asyncio.Event(), threading.Event()
    assert await unless(stop, "quick", in_thread("quick", lambda: 7)) == 7
    with pytest.raises(ValueError, match="no such model"):
        await unless(stop, "failing", in_thread("failing", lambda: _fail("no such model")))

    asyncio.get_running_loop().call_later(0.01, stop.set)
    async with asyncio.timeout(5):
        assert await unless(stop, "endless", in_thread("endless", gate.wait)) is None
    gate.set()


def _fail(why: str) -> None:
    raise ValueError(why)
