"""Rows kept until their consumer has stored them: the same promises of the adapter and of the fake."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.domain.ids import Stream
from agent.ports import Outbox, Row
from tests.adapters.outbox.rigs import TOPICS, fill, opened, seqs, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

DOOR = Stream("detections/door")
GATE = Stream("detections/gate")


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
    made.keep("stored")
    yield made
    await made.close()


async def sent(outbox: Outbox, clock: FakeClock, count: int, *, stream: Stream = DOOR) -> list[Row]:
    """So many rows that the broker has acknowledged."""
    await fill(outbox, clock, "detection", count, stream=stream)
    rows = [row for row in await waiting(outbox) if row.stream == stream]
    outbox.acknowledge([row.key for row in rows])
    await outbox.statistics()
    return rows


async def test_a_row_at_the_broker_waits_on_but_is_not_sent_again(outbox: Outbox, clock: FakeClock) -> None:
    await sent(outbox, clock, 3)
    statistics = await outbox.statistics()
    assert await waiting(outbox) == []
    assert (statistics.rows, statistics.at_broker, statistics.acknowledged) == (3, 3, 0)
    assert statistics.bytes > 0


async def test_the_consumers_ack_lets_go_of_what_it_covers(outbox: Outbox, clock: FakeClock) -> None:
    rows = await sent(outbox, clock, 5)
    other = await sent(outbox, clock, 2, stream=GATE)
    outbox.stored(DOOR, outbox.epoch, rows[2].seq)
    statistics = await outbox.statistics()
    assert (statistics.rows, statistics.at_broker, statistics.acknowledged) == (4, 4, 3)
    assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
    outbox.stored(DOOR, outbox.epoch, rows[-1].seq)
    outbox.stored(GATE, outbox.epoch, other[-1].seq)
    statistics = await outbox.statistics()
    assert (statistics.rows, statistics.bytes, statistics.acknowledged) == (0, 0, 7)


async def test_an_ack_of_another_epoch_is_ignored(outbox: Outbox, clock: FakeClock) -> None:
    rows = await sent(outbox, clock, 2)
    outbox.stored(DOOR, "01JC0THEREP0CH000000000000", rows[-1].seq)
    assert (await outbox.statistics()).rows == 2


async def test_an_ack_of_an_unknown_stream_is_ignored(outbox: Outbox, clock: FakeClock) -> None:
    await sent(outbox, clock, 2)
    outbox.stored(Stream("detections/nowhere"), outbox.epoch, 1)
    assert (await outbox.statistics()).rows == 2


async def test_an_ack_beyond_the_last_puback_lets_go_of_nothing(outbox: Outbox, clock: FakeClock) -> None:
    rows = await sent(outbox, clock, 3)
    await fill(outbox, clock, "detection", 2)
    outbox.stored(DOOR, outbox.epoch, rows[-1].seq + 1)
    assert (await outbox.statistics()).rows == 5
    outbox.stored(DOOR, outbox.epoch, rows[-1].seq + 1_000)
    assert (await outbox.statistics()).rows == 5
    assert len(await waiting(outbox)) == 2


async def test_an_ack_that_came_before_the_puback_counts_once_that_is_there(
    outbox: Outbox, clock: FakeClock
) -> None:
    await sent(outbox, clock, 3)
    await fill(outbox, clock, "detection", 1)
    (late,) = await waiting(outbox)
    outbox.stored(DOOR, outbox.epoch, late.seq)
    assert (await outbox.statistics()).rows == 4
    outbox.acknowledge([late.key])
    await outbox.statistics()
    assert (await outbox.statistics()).rows == 0


async def test_a_row_that_the_broker_has_not_acknowledged_stays_though_later_ones_are_stored(
    outbox: Outbox, clock: FakeClock
) -> None:
    await fill(outbox, clock, "detection", 3)
    first, second, third = await waiting(outbox)
    outbox.acknowledge([first.key, third.key])
    await outbox.statistics()
    outbox.stored(DOOR, outbox.epoch, third.seq)
    await outbox.statistics()
    assert seqs(await waiting(outbox)) == [second.seq]
    assert (await outbox.statistics()).rows == 1


async def test_what_is_replayed_is_fetched_again_and_answered_with_the_range_held(
    outbox: Outbox, clock: FakeClock
) -> None:
    rows = await sent(outbox, clock, 6)
    outbox.stored(DOOR, outbox.epoch, rows[1].seq)
    await outbox.statistics()
    found = await outbox.replay(DOOR, outbox.epoch, 0, rows[3].seq)
    assert found is not None
    assert (found.first, found.last, found.rows, found.complete) == (rows[2].seq, rows[3].seq, 2, True)
    again = await waiting(outbox)
    assert again == [replace(row, again=True) for row in rows[2:4]]
    assert (await outbox.statistics()).at_broker == 4
    outbox.acknowledge([row.key for row in again])
    await outbox.statistics()
    assert await waiting(outbox) == []
    outbox.stored(DOOR, outbox.epoch, rows[-1].seq)
    assert (await outbox.statistics()).rows == 0


async def test_a_replay_of_what_was_not_sent_yet_tells_that_it_is_held(
    outbox: Outbox, clock: FakeClock
) -> None:
    at_broker = await sent(outbox, clock, 2)
    await fill(outbox, clock, "detection", 2)
    unsent = await waiting(outbox)
    found = await outbox.replay(DOOR, outbox.epoch, at_broker[1].seq, unsent[-1].seq + 50)
    assert found is not None
    assert (found.first, found.last, found.rows) == (at_broker[1].seq, unsent[-1].seq, 1)
    found = await outbox.replay(DOOR, outbox.epoch, unsent[1].seq, unsent[1].seq)
    assert found is not None
    assert (found.first, found.last, found.rows) == (unsent[1].seq, unsent[1].seq, 0)


async def test_a_replay_of_what_is_gone_finds_nothing(outbox: Outbox, clock: FakeClock) -> None:
    rows = await sent(outbox, clock, 3)
    outbox.stored(DOOR, outbox.epoch, rows[1].seq)
    await outbox.statistics()
    assert await outbox.replay(DOOR, outbox.epoch, 0, rows[1].seq) is None
    assert await outbox.replay(DOOR, "01JC0THEREP0CH000000000000", 0, 99) is None
    assert await outbox.replay(Stream("detections/nowhere"), outbox.epoch, 0, 99) is None
    assert await outbox.replay(DOOR, outbox.epoch, rows[-1].seq + 1, 2**53 - 1) is None


async def test_a_reminder_sends_the_newest_row_of_each_stream_again(outbox: Outbox, clock: FakeClock) -> None:
    door = await sent(outbox, clock, 3)
    gate = await sent(outbox, clock, 2, stream=GATE)
    outbox.remind()
    assert [row.key for row in await waiting(outbox)] == [door[-1].key, gate[-1].key]
    # The consumer had it all: its retained ack finds the reminder on its way, and takes it out nevertheless.
    outbox.stored(DOOR, outbox.epoch, door[-1].seq)
    assert (await outbox.statistics()).rows == 2
    assert [row.key for row in await waiting(outbox)] == [gate[-1].key]


async def test_going_back_to_acknowledged_lets_go_of_what_the_broker_has(
    outbox: Outbox, clock: FakeClock
) -> None:
    await sent(outbox, clock, 3)
    await fill(outbox, clock, "detection", 1)
    outbox.keep("acknowledged")
    statistics = await outbox.statistics()
    assert (statistics.rows, statistics.at_broker, statistics.acknowledged) == (1, 0, 3)
    outbox.acknowledge([row.key for row in await waiting(outbox)])
    assert (await outbox.statistics()).rows == 0


async def test_what_is_kept_until_acknowledged_can_be_asked_for_while_it_waits(
    outbox: Outbox, clock: FakeClock
) -> None:
    outbox.keep("acknowledged")
    await fill(outbox, clock, "detection", 3)
    rows = await waiting(outbox)
    found = await outbox.replay(DOOR, outbox.epoch, 0, 99)
    assert found is not None
    assert (found.first, found.last, found.rows) == (rows[0].seq, rows[-1].seq, 0)
    outbox.acknowledge([row.key for row in rows])
    await outbox.statistics()
    assert await outbox.replay(DOOR, outbox.epoch, 0, 99) is None


async def test_a_replayed_row_that_is_refused_is_declared_lost(outbox: Outbox, clock: FakeClock) -> None:
    rows = await sent(outbox, clock, 2)
    await outbox.replay(DOOR, outbox.epoch, rows[0].seq, rows[0].seq)
    outbox.refuse(rows[0].key, reason="refused", code=0x87)
    statistics = await outbox.statistics()
    assert (statistics.lost, statistics.at_broker) == (1, 1)
    assert statistics.produced == statistics.acknowledged + statistics.rows + statistics.lost
