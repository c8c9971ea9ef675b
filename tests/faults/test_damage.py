"""Damage of the outbox file: a node always starts, and sends what was written, or declares it lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import structlog

from agent.ports import Row
from tests.adapters.outbox.rigs import (
    copy_as_crash_leaves_it,
    fill,
    losses,
    message,
    opened,
    outbox_at,
    waiting,
)
from tests.e2e.outbox_rows import count_waiting
from tests.fakes.clock import FakeClock
from tests.faults.audit import epoch_of
from tests.faults.records import Record
from tests.faults.site import Site
from tests.polling import until

DAMAGES = 40
"""Of each kind, to the file and to its log."""

DETECTIONS, MORE, EVENTS = 300, 100, 20

Damage = Callable[[Path, Random], None]
Numbers = dict[tuple[str, int], int]
"""What each sequence number of a stream was given to."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def left_by_a_crash(tmp_path: Path, clock: FakeClock) -> tuple[Path, Numbers]:
    """A file, a part of it still in the log, with events that were synced; and what was in it."""
    path = tmp_path / "whole" / "outbox.sqlite3"
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", DETECTIONS, size=300)
        await fill(outbox, clock, "event", EVENTS, size=300)
        numbers = _numbers(await waiting(outbox))
    async with outbox_at(path, clock=clock) as outbox:
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows[5:50]])
        for _ in range(EVENTS):
            await fill(outbox, clock, "event", 1, size=300)
        await fill(outbox, clock, "detection", MORE, size=300)
        numbers |= _numbers(await waiting(outbox))
        await asyncio.to_thread(copy_as_crash_leaves_it, path, tmp_path / "left")
    return tmp_path / "left" / path.name, numbers


@pytest.fixture
def quiet_log() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


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


@pytest.mark.faults(
    "Disk", "240 random damages to the outbox file or its log: bytes flipped, torn, blank pages"
)
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("quiet_log")
async def test_random_damage_keeps_nothing_from_starting_and_sends_nothing_false(
    tmp_path: Path, left_by_a_crash: tuple[Path, Numbers], clock: FakeClock, record: Record
) -> None:
    """Half of the damages are found in the boot that wrote the file, half after a power cut."""
    left, numbers = left_by_a_crash
    boot, epoch = clock.boot, epoch_of(left)
    outcomes: Counter[str] = Counter()
    for which in ("file", "log"):
        for damage in (flip, tear, blank_a_page):
            random = Random(f"{which} {damage.__name__}")
            for number in range(DAMAGES):
                folder = tmp_path / f"{which}-{damage.__name__}-{number}"
                path = await asyncio.to_thread(copy_as_crash_leaves_it, left, folder)
                victim = path if which == "file" else path.with_name(path.name + "-wal")
                await asyncio.to_thread(damage, victim, random)
                clock.boot = f"b0074b00-0000-4000-8000-{number + 2:012}" if number % 2 else boot
                try:
                    outcomes[await _live_with(path, clock, numbers, epoch=epoch)] += 1
                except AssertionError as error:
                    raise AssertionError(
                        f"{damage.__name__} of the {which}, number {number}: {error}"
                    ) from error
    assert outcomes.total() == 6 * DAMAGES
    assert outcomes["a new generation"] > 0
    assert outcomes["some rows declared lost"] > 0
    record.note(", ".join(f"{count} times {outcome}" for outcome, count in outcomes.most_common()))


async def _live_with(path: Path, clock: FakeClock, numbers: Numbers, *, epoch: str) -> str:
    """Open it, go on with it, and look at all that would be sent; what became of it.

    What waited may have been delivered, for all that the node knows: no number may be given again.
    """
    outbox = await opened(path, clock=clock)
    try:
        kept = _numbers(await waiting(outbox))
        await fill(outbox, clock, "detection", 3)
        await fill(outbox, clock, "event", 3)
        for _ in range(3):  # what is found damaged is declared a second later at the latest
            clock.advance(2)
            await waiting(outbox)
        statistics = await outbox.statistics()
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        rows = await waiting(outbox)
        for row in rows:
            if row.stream != "loss":
                assert set(message(row)) == {"v", "epoch", "seq", "site", "number", "filling"}
                assert json.loads(row.body)["filling"].strip("x") == ""
        assert len({(row.stream, row.seq) for row in rows}) == len(rows)
        aside = path.with_name(path.name + ".damaged").exists()
        assert aside == (outbox.epoch != epoch)
        if aside:
            assert losses(rows), "rows are gone, and nothing says so"
            return "a new generation"
        new = _numbers(rows).keys() - kept.keys()
        assert len(new) == 6
        assert not new & numbers.keys(), "numbers were given again"
        assert kept.items() <= numbers.items(), "a number has another content"
        gone = numbers.keys() - kept.keys()
        assert gone <= _declared(rows) | _acknowledged(numbers), "rows are gone, and nothing says so"
        return "some rows declared lost" if gone - _acknowledged(numbers) else "nothing lost"
    finally:
        await outbox.close()
        await outbox.ended()


def _numbers(rows: list[Row]) -> Numbers:
    return {(row.stream, row.seq): message(row)["number"] for row in rows if row.stream != "loss"}


def _declared(rows: list[Row]) -> set[tuple[str, int]]:
    told = [loss for loss in losses(rows) if loss["from"] is not None]
    return {(loss["stream"], seq) for loss in told for seq in range(loss["from"], loss["to"] + 1)}


def _acknowledged(numbers: Numbers) -> set[tuple[str, int]]:
    """What has left the file: the first rows in the order of sending, but for five."""
    ordered = sorted(numbers, key=lambda number: (number[0] != "events/crowd", number[1]))
    first = [number for number in ordered if number[0] != "events/crowd" or number[1] < EVENTS]
    return set(first[5:50])


@pytest.mark.faults("Disk", "a page of the outbox overwritten and its log torn, while the node was off")
@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_a_node_whose_outbox_is_damaged_starts_and_tells_what_is_lost(
    tmp_path: Path, record: Record
) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        await site.flow(30)
        site.proxy.refuse = True
        site.proxy.reset()
        file = site.agent.outbox_file
        await until(lambda: count_waiting(file) > 60, within_s=30, every_s=0.1)
        await asyncio.to_thread(site.agent.kill)
        before, lost = epoch_of(file), count_waiting(file)
        await asyncio.to_thread(_overwrite_a_page, file)
        site.proxy.refuse = False
        await site.start()
        await site.flow(30)
        await site.wait_drained()
        await site.finish()
        after = epoch_of(file)
        assert after != before
        for name in ("outbox.sqlite3.damaged", "outbox.sqlite3.damaged-wal"):
            assert (site.agent.state / name).exists(), f"{name} was not kept"
        told = site.logged("outbox.store_lost")
        assert [line["lost_epoch"] for line in told] == [before]
        declared = [loss for loss in site.consumer.of("loss") if loss["reason"] == "damaged"]
        assert declared
        assert {(loss["epoch"], loss["lost_epoch"]) for loss in declared} == {(after, before)}
        record.take(audit := site.audit())
        record.note(f"{lost} rows had waited, {sum(loss['count'] for loss in declared)} were declared lost")
        assert audit.lost_count == 0, audit.lost


def _overwrite_a_page(file: Path) -> None:
    """The last one, in which rows lie, and half of the log: what a file system's check may leave."""
    log, index = (file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))
    content = bytearray(file.read_bytes())
    content[-4096:] = Random(1).randbytes(4096)
    torn = log.read_bytes()
    # As new files: whoever still looks at the old ones keeps the index alive that belongs to them.
    for victim, damaged in ((file, content), (log, torn[: len(torn) // 2])):
        victim.unlink()
        victim.write_bytes(damaged)
    index.unlink()
