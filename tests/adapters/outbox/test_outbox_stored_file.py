"""Stored mode in the file: over restarts and crashes, under bounds, in steps, and without scanning."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent.adapters.outbox.kept import MOST_REPLAYED, STEP
from agent.domain.errors import TransientError
from agent.domain.ids import Stream
from agent.ports import Outbox, Row
from tests.adapters.outbox.rigs import (
    copy_as_crash_leaves_it,
    draft,
    fill,
    losses,
    opened,
    outbox_at,
    seqs,
    waiting,
)
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

DOOR = Stream("detections/door")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


async def send(outbox: Outbox) -> list[Row]:
    """Have the broker acknowledge all that can be sent."""
    rows = await waiting(outbox)
    outbox.acknowledge([row.key for row in rows])
    await outbox.statistics()
    return rows


async def test_what_is_at_the_broker_is_known_after_a_restart(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        await fill(outbox, clock, "detection", 6)
        rows = await send(outbox)
        await outbox.replay(DOOR, outbox.epoch, 2, 3)
        await outbox.statistics()
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        assert seqs(await waiting(outbox)) == [2, 3]
        assert all(row.again for row in await waiting(outbox))
        assert (await outbox.statistics()).at_broker == 6
        outbox.stored(DOOR, outbox.epoch, rows[-1].seq)
        statistics = await outbox.statistics()
        assert (statistics.rows, statistics.bytes, statistics.acknowledged) == (0, 0, 6)


async def test_a_crash_forgets_no_puback_that_was_committed(
    path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        await fill(outbox, clock, "detection", 6)
        rows = await waiting(outbox)
        outbox.acknowledge([row.key for row in rows[:4]])
        await outbox.statistics()
        outbox.stored(DOOR, outbox.epoch, rows[0].seq)
        await outbox.statistics()
        left = await asyncio.to_thread(copy_as_crash_leaves_it, path, tmp_path / "crashed")
    async with outbox_at(left, clock=clock, keep_until="stored") as outbox:
        statistics = await outbox.statistics()
        assert (statistics.rows, statistics.at_broker, statistics.acknowledged) == (5, 3, 1)
        assert seqs(await waiting(outbox)) == [4, 5]


async def test_a_node_that_went_back_to_acknowledged_lets_go_of_what_it_finds(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        await fill(outbox, clock, "detection", 3)
        await send(outbox)
        await fill(outbox, clock, "detection", 1)
    async with outbox_at(path, clock=clock) as outbox:
        statistics = await outbox.statistics()
        assert (statistics.rows, statistics.at_broker, statistics.acknowledged) == (1, 0, 3)


async def test_very_much_that_the_broker_has_is_let_go_of_in_steps(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        for number in range(STEP + 5):
            await outbox.append(draft(clock, number=number))
        await outbox.statistics()
        await send(outbox)
        outbox.keep("acknowledged")
        assert [(await outbox.statistics()).rows for _ in range(2)] == [5, 0]
        await fill(outbox, clock, "detection", 3)
        await send(outbox)
        assert (await outbox.statistics()).acknowledged == STEP + 8


async def test_a_replay_knows_of_pubacks_that_no_commit_has_taken_yet(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored", commit_interval_s=30.0) as outbox:
        await fill(outbox, clock, "detection", 4)
        outbox.acknowledge([row.key for row in await waiting(outbox)])
        found = await outbox.replay(DOOR, outbox.epoch, 1, 2)
        assert found is not None
        assert found.rows == 2
        assert seqs(await waiting(outbox)) == [1, 2]


async def test_rows_at_the_broker_are_bounded_like_all_and_their_loss_is_declared(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored", max_bytes=20_000) as outbox:
        for _ in range(4):
            await fill(outbox, clock, "detection", 10, size=1_000)
            await send(outbox)
        statistics = await outbox.statistics()
        assert statistics.bytes <= 20_000 + 2_000
        assert statistics.lost >= 20
        assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
        # The loss messages are at the broker as well, and can be had again.
        held = await outbox.replay(Stream("loss"), outbox.epoch, 0, 999)
        clock.advance(2)
        await outbox.statistics()
        assert held is not None
        told = losses(await waiting(outbox))
        assert {loss["reason"] for loss in told} == {"evicted"}
        assert sum(loss["count"] for loss in told) == statistics.lost
        # A consumer counts what is declared as had, so it may say more than what is left here.
        outbox.stored(DOOR, outbox.epoch, 39)
        left = await outbox.statistics()
        assert left.rows == len(told)


async def test_rows_at_the_broker_expire(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        await outbox.append(draft(clock, expiry_s=60))
        await outbox.statistics()
        await send(outbox)
        clock.advance(61)
        await outbox.statistics()
        statistics = await outbox.statistics()
        assert (statistics.at_broker, statistics.lost) == (0, 1)
        (told,) = losses(await waiting(outbox))
        assert (told["reason"], told["count"]) == ("expired", 1)


async def test_an_ack_of_very_much_is_taken_out_in_steps(path: Path, clock: FakeClock) -> None:
    rows = STEP + STEP // 2
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        for number in range(rows):
            await outbox.append(draft(clock, number=number))
        await outbox.statistics()
        await send(outbox)
        outbox.stored(DOOR, outbox.epoch, rows - 1)
        first = await outbox.statistics()
        assert (first.rows, first.acknowledged) == (rows - STEP, STEP)
        second = await outbox.statistics()
        assert (second.rows, second.bytes) == (0, 0)


async def test_why_an_ack_says_nothing_is_counted(path: Path, clock: FakeClock) -> None:
    metrics = FakeMetrics()
    async with outbox_at(path, clock=clock, metrics=metrics, keep_until="stored") as outbox:
        await fill(outbox, clock, "detection", 2)
        outbox.stored(DOOR, outbox.epoch, 7)
        await outbox.statistics()
        outbox.stored(DOOR, "01JC0THEREP0CH000000000000", 1)
        await outbox.statistics()
        outbox.stored(Stream("detections/nowhere"), outbox.epoch, 1)
        await outbox.statistics()
    counted = {key: count for key, count in metrics.counts.items() if "ignored" in key}
    assert counted == {
        f"outbox_stored_ignored_total reason={reason}": 1 for reason in ("beyond", "epoch", "stream")
    }
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM stream").fetchall() == [("detections/door",)]


async def test_a_consumer_that_talks_faster_than_the_disk_is_heard_out_at_its_latest_word(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        await fill(outbox, clock, "detection", 200)
        await send(outbox)
        for seq in range(200):
            outbox.stored(DOOR, outbox.epoch, seq)
        assert (await outbox.statistics()).rows == 0


async def test_a_replay_is_refused_in_words_once_the_outbox_is_closed(path: Path, clock: FakeClock) -> None:
    outbox = await opened(path, clock=clock, keep_until="stored")
    await outbox.close()
    with pytest.raises(TransientError, match="closed"):
        await outbox.replay(DOOR, outbox.epoch, 0, 1)


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("WHERE rank = 5 AND key > 7 AND at_broker <> 1 ORDER BY key LIMIT 64", "message_to_send"),
        ("WHERE at_broker > 0 AND stream = 1 AND seq <= 7 ORDER BY seq LIMIT 9", "message_at_broker"),
        ("WHERE at_broker > 0 AND stream = 1 ORDER BY seq DESC LIMIT 1", "message_at_broker"),
        ("WHERE at_broker > 0 ORDER BY stream, seq LIMIT 9", "message_at_broker"),
        ("WHERE rank = 5 ORDER BY key LIMIT 9", "message_by_rank"),
    ],
)
async def test_nothing_that_is_asked_often_scans_or_sorts_the_rows(
    path: Path, clock: FakeClock, question: str, index: str
) -> None:
    async with outbox_at(path, clock=clock):
        pass
    statement = f"EXPLAIN QUERY PLAN SELECT key FROM message {question}"  # noqa: S608
    with sqlite3.connect(path) as connection:
        plan = [row[3] for row in connection.execute(statement)]
    assert len(plan) == 1, plan
    assert index in plan[0]


async def test_a_replay_of_very_much_begins_with_its_oldest_part(path: Path, clock: FakeClock) -> None:
    rows = MOST_REPLAYED + 10
    async with outbox_at(path, clock=clock, keep_until="stored") as outbox:
        for number in range(rows):
            await outbox.append(draft(clock, number=number))
        await outbox.statistics()
        await send(outbox)
        found = await outbox.replay(DOOR, outbox.epoch, 0, 2**53 - 1)
        assert found is not None
        assert (found.first, found.last, found.rows, found.complete) == (0, rows - 1, MOST_REPLAYED, False)
        assert seqs(await waiting(outbox)) == list(range(MOST_REPLAYED))
        rest = await outbox.replay(DOOR, outbox.epoch, MOST_REPLAYED, 2**53 - 1)
        assert rest is not None
        assert (rest.rows, rest.complete) == (10, True)
        assert len(await waiting(outbox)) == rows
