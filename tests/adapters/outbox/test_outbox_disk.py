"""A disk that refuses: held in memory, declared when it was too much, and back without a restart."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters.system.clock import SystemClock
from tests.adapters.outbox.rigs import draft, fill, losses, message, opened, seqs, waiting
from tests.polling import until

Told = list[tuple[str, str | None, str | None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def use_up(place: Path) -> Path:
    """Fill the file system to its last byte by a file of somebody else's."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    return ballast


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else is writing to the file: every write is refused until the end."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.mark.slow
async def test_a_disk_filled_by_others_loses_nothing_that_the_reserve_has_room_for(
    small_disk: Path,
) -> None:
    told: Told = []
    clock = SystemClock()
    outbox = await opened(
        small_disk / "outbox.sqlite3", clock=clock, on_condition=lambda *condition: told.append(condition)
    )
    try:
        await fill(outbox, clock, "event", 20, size=400)
        ballast = await asyncio.to_thread(use_up, small_disk)
        async with asyncio.timeout(20):
            number = 20
            while not told:
                await outbox.append(draft(clock, "event", number=number, size=400))
                number += 1
                await asyncio.sleep(0)
        assert told[0][:2] == ("degraded", "E_DISK")
        # Reading, and counting sessions, go on.
        assert seqs(await waiting(outbox), "events/crowd")[:20] == list(range(20))
        assert await outbox.next_session() > 0
        await asyncio.to_thread(ballast.unlink)
        await until(lambda: told[-1][0] == "ok", within_s=30)
        rows = [row for row in await waiting(outbox) if row.stream == "events/crowd"]
        assert [row.seq for row in rows] == list(range(number))
        assert [message(row)["number"] for row in rows] == list(range(number))
    finally:
        await outbox.close()


async def test_a_full_disk_lets_the_new_push_out_the_old(small_disk: Path) -> None:
    """Nobody else needs the room: the outbox itself is allowed more than the disk has."""
    told: Told = []
    clock = SystemClock()
    outbox = await opened(
        small_disk / "outbox.sqlite3",
        clock=clock,
        held_bytes=100_000,
        on_condition=lambda *condition: told.append(condition),
    )
    try:
        async with asyncio.timeout(40):
            for _ in range(120):
                await fill(outbox, clock, "detection", 250, size=400)
            await outbox.append(draft(clock, "event"))
        statistics = await outbox.statistics()
        assert "degraded" in {status for status, _, _ in told}
        assert statistics.lost > 0
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        rows = await waiting(outbox)
        assert "evicted" in {loss["reason"] for loss in losses(rows)}
        assert seqs(rows, "events/crowd") == [0]
    finally:
        await outbox.close()


async def test_what_memory_cannot_hold_is_declared_once_the_disk_is_back(path: Path) -> None:
    told: Told = []
    clock = SystemClock()
    outbox = await opened(
        path,
        clock=clock,
        held_bytes=50_000,
        on_condition=lambda *condition: told.append(condition),
    )
    try:
        await fill(outbox, clock, "detection", 5)
        with locked(path):
            for number in range(5, 505):
                await outbox.append(draft(clock, number=number, size=400))
            await outbox.append(draft(clock, "event", number=0))
            await outbox.statistics()
            assert told[0][:2] == ("degraded", "E_DISK")
        await until(lambda: told[-1][0] == "ok", within_s=20)
        rows = await waiting(outbox)
        assert seqs(rows, "events/crowd") == [0]
        numbers = [message(row)["number"] for row in rows if row.stream == "detections/door"]
        assert numbers[:5] == [0, 1, 2, 3, 4]
        assert numbers[5:] == list(range(numbers[5], 505))  # the newest were kept
        dropped = 505 - len(numbers)
        by_disk = [loss for loss in losses(rows) if loss["reason"] == "disk"]
        assert [(loss["from"], loss["to"]) for loss in by_disk] == [(None, None)] * len(by_disk)
        assert sum(loss["count"] for loss in by_disk) == dropped > 0
        statistics = await outbox.statistics()
        assert statistics.produced == statistics.rows + statistics.lost
    finally:
        await outbox.close()


async def test_acknowledgements_during_a_refusal_count_when_the_disk_is_back(path: Path) -> None:
    told: Told = []
    clock = SystemClock()
    outbox = await opened(path, clock=clock, on_condition=lambda *condition: told.append(condition))
    try:
        await fill(outbox, clock, "detection", 10)
        keys = [row.key for row in await waiting(outbox)]
        with locked(path):
            outbox.acknowledge(keys[:6])
            await outbox.statistics()
            assert [row.key for row in await waiting(outbox)] == keys[6:]
            assert told[0][0] == "degraded"
        await until(lambda: told[-1][0] == "ok", within_s=20)
        statistics = await outbox.statistics()
        assert (statistics.acknowledged, statistics.rows) == (6, 4)
    finally:
        await outbox.close()


async def test_an_outbox_opens_on_a_full_disk_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    told: Told = []
    clock = SystemClock()
    ballast = await asyncio.to_thread(use_up, small_disk)
    async with asyncio.timeout(20):
        outbox = await opened(
            small_disk / "outbox.sqlite3", clock=clock, on_condition=lambda *condition: told.append(condition)
        )
    try:
        await outbox.append(draft(clock, "event", number=0))
        assert await waiting(outbox) == []
        assert await outbox.next_session() > 0
        assert told[0][:2] == ("degraded", "E_DISK")
        await asyncio.to_thread(ballast.unlink)
        await until(lambda: told[-1][0] == "ok", within_s=20)
        rows = await waiting(outbox)
        assert [(row.seq, row.epoch) for row in rows] == [(0, outbox.epoch)]
        assert losses(rows) == []
    finally:
        await outbox.close()


@pytest.mark.slow
async def test_what_was_held_comes_back_to_a_disk_that_has_room_for_a_part_of_it(small_disk: Path) -> None:
    """Half of the disk stays somebody else's: all that is held at once would never fit."""
    told: Told = []
    clock = SystemClock()
    ballast = await asyncio.to_thread(use_up, small_disk)
    outbox = await opened(
        small_disk / "outbox.sqlite3", clock=clock, on_condition=lambda *condition: told.append(condition)
    )
    try:
        await fill(outbox, clock, "detection", 3_000, size=4_000)
        await outbox.append(draft(clock, "event"))
        assert (await outbox.statistics()).rows == 0
        assert told[0][:2] == ("degraded", "E_DISK")
        await asyncio.to_thread(os.truncate, ballast, 8 << 20)
        await until(lambda: "refuses" not in (told[-1][2] or ""), within_s=40)
        assert seqs(await waiting(outbox), "events/crowd") == [0]
        statistics = await outbox.statistics()
        assert statistics.lost > 0
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        numbers = [message(row)["number"] for row in await waiting(outbox) if row.stream == "detections/door"]
        assert numbers == list(range(numbers[0], 3_000))  # the newest were kept
    finally:
        await outbox.close()


async def test_closing_while_the_disk_refuses_is_bounded(path: Path) -> None:
    clock = SystemClock()
    outbox = await opened(path, clock=clock)
    with locked(path):
        await outbox.append(draft(clock, "event"))
        await outbox.statistics()
        async with asyncio.timeout(10):
            await outbox.close()
            await outbox.ended()
    again = await opened(path, clock=clock)
    assert await waiting(again) == []  # it was never committed, and had no number
    await again.close()


async def test_a_node_that_cannot_write_its_count_of_sessions_still_has_one(path: Path) -> None:
    clock = SystemClock()
    outbox = await opened(path, clock=clock)
    try:
        first = await outbox.next_session()
        with locked(path):
            second = await outbox.next_session()
        third = await outbox.next_session()
        assert first < second < third
    finally:
        await outbox.close()


async def test_what_consumers_have_stored_is_let_go_of_on_a_full_disk(small_disk: Path) -> None:
    clock = SystemClock()
    outbox = await opened(small_disk / "outbox.sqlite3", clock=clock, keep_until="stored")
    try:
        await fill(outbox, clock, "detection", 3_000, size=400)
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows])
        await outbox.statistics()
        await asyncio.to_thread(use_up, small_disk)
        outbox.stored(rows[0].stream, outbox.epoch, rows[-1].seq)
        async with asyncio.timeout(20):
            statistics = await outbox.statistics()
            while statistics.acknowledged < 3_000:
                statistics = await outbox.statistics()
        assert (statistics.rows, statistics.lost) == (0, 0)
    finally:
        await outbox.close()
