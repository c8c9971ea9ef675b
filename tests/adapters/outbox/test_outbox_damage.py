"""Random damage: a node always starts, and what it then sends is what was written, or declared lost."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import structlog

from tests.adapters.outbox.rigs import (
    copy_as_crash_leaves_it,
    draft,
    fill,
    losses,
    message,
    opened,
    outbox_at,
    seqs,
    waiting,
)
from tests.fakes.clock import FakeClock

DAMAGES = 40

Damage = Callable[[Path, Random], None]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def left_by_a_crash(tmp_path: Path, clock: FakeClock) -> Path:
    """A file with a part of its content still in the log."""
    path = tmp_path / "whole" / "outbox.sqlite3"
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 300, size=300)
        await fill(outbox, clock, "event", 20, size=300)
    async with outbox_at(path, clock=clock) as outbox:
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows[5:50]])
        await fill(outbox, clock, "detection", 100, size=300)
        await asyncio.to_thread(copy_as_crash_leaves_it, path, tmp_path / "left")
    return tmp_path / "left" / path.name


def flip(file: Path, random: Random) -> None:
    """One to eight bytes, anywhere."""
    content = bytearray(file.read_bytes())
    for _ in range(random.randint(1, 8)):
        content[random.randrange(len(content))] ^= random.randint(1, 255)
    file.write_bytes(content)


def tear(file: Path, random: Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: random.randrange(len(content))])


def blank_a_page(file: Path, random: Random) -> None:
    content = bytearray(file.read_bytes())
    start = random.randrange(len(content) // 4096) * 4096
    content[start : start + 4096] = bytes(4096)
    file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("which", ["file", "log"])
@pytest.mark.parametrize("damage", [flip, tear, blank_a_page])
async def test_random_damage_keeps_nothing_from_starting_and_sends_nothing_false(
    tmp_path: Path,
    left_by_a_crash: Path,
    clock: FakeClock,
    which: str,
    damage: Damage,
) -> None:
    random = Random(f"{which} {damage.__name__}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        for number in range(DAMAGES):
            path = await asyncio.to_thread(copy_as_crash_leaves_it, left_by_a_crash, tmp_path / f"{number}")
            victim = path if which == "file" else path.with_name(path.name + "-wal")
            await asyncio.to_thread(damage, victim, random)
            clock.boot = f"b0074b00-0000-4000-8000-{number + 2:012}"  # a power cut did it
            outbox = await opened(path, clock=clock)
            try:
                rows = await waiting(outbox)
                await fill(outbox, clock, "detection", 3)
                await outbox.append(draft(clock, "event"))
                clock.advance(2)
                statistics = await outbox.statistics()
                assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
                rows = await waiting(outbox)
                for row in rows:
                    if row.stream != "loss":
                        assert set(message(row)) == {"v", "epoch", "seq", "site", "number", "filling"}
                        assert json.loads(row.body)["filling"].strip("x") == ""
                for stream in ("detections/door", "events/crowd"):
                    assert len(set(seqs(rows, stream))) == len(seqs(rows, stream))
                if len(seqs(rows)) < 375:
                    assert losses(rows)
            finally:
                await outbox.close()
            await outbox.ended()
    finally:
        structlog.reset_defaults()
