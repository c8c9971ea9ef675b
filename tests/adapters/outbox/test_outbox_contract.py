"""What `ports.Outbox` promises, held against the adapter and against the fake that other tests use."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from agent.contract.payloads import Loss
from agent.ports import Outbox, Priority, Row
from tests.adapters.outbox.rigs import STREAMS, TOPICS, draft, fill, losses, message, opened, seqs, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "fake"])
async def outbox(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Outbox]:
    made: Outbox
    if request.param == "sqlite":
        made = await opened(tmp_path / "outbox.sqlite3", clock=clock)
    else:
        made = FakeOutbox(clock=clock, topics=TOPICS)
    yield made
    await made.close()


def by_key(rows: list[Row]) -> list[int]:
    return [row.key for row in rows]


async def test_append_keeps_every_field_of_the_draft(outbox: Outbox, clock: FakeClock) -> None:
    given = draft(clock, "telemetry", expiry_s=60)
    await outbox.append(given)
    await outbox.committed()
    (row,) = await waiting(outbox)
    assert (row.stream, row.priority, row.body) == (given.stream, given.priority, given.body)
    assert (row.made, row.captured, row.expiry_s) == (given.made, None, 60)
    assert (row.content_type, row.properties) == ("application/json", {})
    assert (row.epoch, row.boot) == (outbox.epoch, clock.boot)
    assert row.trace == f"{outbox.epoch}/telemetry/motor/{row.seq}"


async def test_sequence_numbers_rise_by_one_in_each_stream_apart(outbox: Outbox, clock: FakeClock) -> None:
    for number in range(30):
        await outbox.append(draft(clock, number=number, stream=f"detections/{'abc'[number % 3]}"))
    await outbox.statistics()
    rows = await waiting(outbox)
    for stream in ("detections/a", "detections/b", "detections/c"):
        given = seqs(rows, stream)
        assert given == list(range(given[0], given[0] + 10))
        numbers = [message(row)["number"] for row in rows if row.stream == stream]
        assert numbers == sorted(numbers)


async def test_fetch_gives_the_highest_priority_first_then_the_oldest(
    outbox: Outbox, clock: FakeClock
) -> None:
    priorities: tuple[Priority, ...] = get_args(Priority)
    for _ in range(2):
        for priority in reversed(priorities):
            await outbox.append(draft(clock, priority))
    await outbox.statistics()
    rows = await waiting(outbox)
    assert [row.priority for row in rows] == [priority for priority in priorities for _ in range(2)]
    assert all(first.key < second.key for first, second in zip(rows[::2], rows[1::2], strict=True))
    assert by_key(await outbox.fetch(after={}, limit=5)) == by_key(rows)[:5]


async def test_fetch_gives_only_what_is_above_each_prioritys_cursor(outbox: Outbox, clock: FakeClock) -> None:
    await fill(outbox, clock, "event", 3)
    await fill(outbox, clock, "detection", 3)
    rows = await waiting(outbox)
    event_keys, detection_keys = by_key(rows[:3]), by_key(rows[3:])
    found = await outbox.fetch(after={"event": event_keys[1], "detection": detection_keys[0]}, limit=10)
    assert by_key(found) == [event_keys[2], *detection_keys[1:]]


async def test_the_newest_key_is_that_of_the_row_committed_last_also_when_it_is_gone(
    outbox: Outbox, clock: FakeClock
) -> None:
    await fill(outbox, clock, "event", 2)
    await fill(outbox, clock, "detection", 3)
    keys = by_key(await waiting(outbox))
    assert outbox.newest_key == max(keys)
    outbox.acknowledge(keys)
    await outbox.statistics()
    assert outbox.newest_key == max(keys)


async def test_acknowledged_rows_are_gone_and_unknown_keys_ignored(outbox: Outbox, clock: FakeClock) -> None:
    await fill(outbox, clock, "detection", 5)
    keys = by_key(await waiting(outbox))
    outbox.acknowledge([keys[1], keys[3], keys[-1] + 1_000])
    outbox.acknowledge([keys[1]])
    statistics = await outbox.statistics()
    assert (statistics.produced, statistics.acknowledged, statistics.rows) == (5, 2, 3)
    assert by_key(await waiting(outbox)) == [keys[0], keys[2], keys[4]]


@pytest.mark.parametrize("reason", ["refused", "oversize"])
async def test_a_refused_row_is_set_aside_and_declared_lost(
    outbox: Outbox, clock: FakeClock, reason: str
) -> None:
    await fill(outbox, clock, "detection", 3)
    rows = await waiting(outbox)
    outbox.refuse(rows[1].key, reason=reason, code=0x87)  # type: ignore[arg-type]
    statistics = await outbox.statistics()
    assert (statistics.refused, statistics.lost) == (1, 1)
    left = await waiting(outbox)
    assert seqs(left) == [rows[0].seq, rows[2].seq]
    assert losses(left) == [
        {
            "stream": "detections/door",
            "lost_epoch": outbox.epoch,
            "from": rows[1].seq,
            "to": rows[1].seq,
            "count": 1,
            "reason": reason,
        }
    ]
    Loss.model_validate({k: v for k, v in message(left[0]).items() if k not in {"epoch", "seq"}})


async def test_a_refused_loss_message_is_not_declared_again(outbox: Outbox, clock: FakeClock) -> None:
    await fill(outbox, clock, "detection", 1)
    (row,) = await waiting(outbox)
    outbox.refuse(row.key, reason="refused", code=0x87)
    await outbox.statistics()
    (loss,) = await waiting(outbox)
    assert loss.stream == "loss"
    outbox.refuse(loss.key, reason="refused", code=0x87)
    clock.advance(5)
    statistics = await outbox.statistics()
    assert await waiting(outbox) == []
    assert (statistics.produced, statistics.lost, statistics.refused, statistics.rows) == (2, 2, 2, 0)


async def test_the_account_balances_whatever_was_done(outbox: Outbox, clock: FakeClock) -> None:
    for priority in STREAMS:
        await fill(outbox, clock, priority, 4)
    rows = await waiting(outbox)
    outbox.acknowledge(by_key(rows[::3]))
    outbox.refuse(rows[1].key, reason="refused", code=None)
    outbox.refuse(rows[4].key, reason="oversize", code=0x95)
    statistics = await outbox.statistics()
    assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
    assert statistics.rows == len(await waiting(outbox))
    assert statistics.bytes >= sum(len(row.body) for row in await waiting(outbox))


async def test_committed_wakes_whoever_waits_for_news(outbox: Outbox, clock: FakeClock) -> None:
    await outbox.append(draft(clock))
    async with asyncio.timeout(5):
        await outbox.committed()
        assert len(await waiting(outbox)) == 1
        await outbox.append(draft(clock))
        await outbox.committed()
        while len(await waiting(outbox)) < 2:  # the first wake may have been for the opening
            await outbox.committed()


async def test_sessions_count_up(outbox: Outbox) -> None:
    numbers = [await outbox.next_session() for _ in range(3)]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


@pytest.mark.parametrize("size", [0, 400, 100_000])
async def test_bodies_of_any_size_come_back_as_they_were(outbox: Outbox, clock: FakeClock, size: int) -> None:
    given = draft(clock, size=size)
    await outbox.append(given)
    await outbox.statistics()
    assert [row.body for row in await waiting(outbox)] == [given.body]
