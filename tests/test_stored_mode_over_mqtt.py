"""`keep_until: stored`, with a real broker that forgets: what it acknowledged and lost is had in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Authority, Mosquitto
from tests.polling import until
from tests.storing_consumer import StoringConsumer
from tests.storing_node import StoringNode, storing_node

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

BASE = "edge/v1/plant/nano-42"
DOOR = "detections/door"
CROWD = "events/crowd"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, authority=Authority(tmp_path / "certificates")) as broker:
        yield broker


def consumer_of(broker: Mosquitto, folder: Path) -> StoringConsumer:
    return StoringConsumer(
        folder / "consumer.sqlite3", authority=broker.authority, port=broker.port, base=BASE
    )


async def at_broker(node: StoringNode, rows: int) -> None:
    """Wait until all that waits has a PUBACK, and is so much."""

    async with asyncio.timeout(20):
        statistics = await node.statistics()
        while not statistics.at_broker == statistics.rows == rows:
            await asyncio.sleep(0.02)
            statistics = await node.statistics()


async def test_what_a_killed_broker_had_acknowledged_is_stored_in_the_end(
    tmp_path: Path, broker: Mosquitto
) -> None:
    identity = await asyncio.to_thread(broker.authority.issue, "nano-42")
    consumer = await asyncio.to_thread(consumer_of, broker, tmp_path)
    await asyncio.to_thread(consumer.open)
    async with storing_node(tmp_path / "outbox.sqlite3", identity=identity, port=broker.port) as node:
        epoch = node.outbox.epoch
        await node.append(30, stream=DOOR)
        await until(lambda: len(consumer.stored()) == 30, within_s=20)
        await at_broker(node, 0)  # stored, and acknowledged by the consumer

        await asyncio.to_thread(consumer.leave)
        await node.append(25, stream=DOOR)
        await node.append(5, stream=CROWD, priority="event")
        await at_broker(node, 30)  # queued by the broker for the consumer, and nowhere else
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(consumer.open)
        # The last of each stream comes by itself in the new session, and shows that the rest is missing.
        await until(lambda: len(consumer.stored()) == 32, within_s=30)
        assert {(key.stream, *gap) for key, gaps in consumer.gaps().items() for gap in gaps} == {
            (DOOR, 30, 53),
            (CROWD, 0, 3),
        }
        assert (await node.statistics()).rows == 30  # nothing goes before it is stored
        assert await consumer.ask_for_gaps(node.keeping.replay) == 2
        await until(lambda: not consumer.gaps(), within_s=20)
        await at_broker(node, 0)
        statistics = await node.statistics()
        assert (statistics.produced, statistics.acknowledged, statistics.lost) == (60, 60, 0)
    assert consumer.replayed >= 30
    expected = {(epoch, DOOR, seq) for seq in range(55)} | {(epoch, CROWD, seq) for seq in range(5)}
    assert consumer.stored() == expected
    await asyncio.to_thread(consumer.close)


async def test_a_consumer_that_stored_nothing_gets_it_from_a_node_started_again(
    tmp_path: Path, broker: Mosquitto
) -> None:
    identity = await asyncio.to_thread(broker.authority.issue, "nano-42")
    async with storing_node(tmp_path / "outbox.sqlite3", identity=identity, port=broker.port) as node:
        await node.append(12, stream=DOOR)
        await at_broker(node, 12)  # with nobody subscribed, the broker throws them away
    consumer = await asyncio.to_thread(consumer_of, broker, tmp_path)
    await asyncio.to_thread(consumer.open)
    async with storing_node(tmp_path / "outbox.sqlite3", identity=identity, port=broker.port) as node:
        await until(lambda: len(consumer.stored()) == 1, within_s=20)
        assert await consumer.ask_for_gaps(node.keeping.replay) == 1
        await until(lambda: len(consumer.stored()) == 12 and not consumer.gaps(), within_s=20)
        await at_broker(node, 0)
    await asyncio.to_thread(consumer.close)


async def test_an_ack_that_waits_retained_at_the_broker_counts_when_the_node_comes_back(
    tmp_path: Path, broker: Mosquitto
) -> None:
    identity = await asyncio.to_thread(broker.authority.issue, "nano-42")
    consumer = await asyncio.to_thread(consumer_of, broker, tmp_path)
    async with storing_node(tmp_path / "outbox.sqlite3", identity=identity, port=broker.port) as node:
        await asyncio.to_thread(consumer.open)
        await node.append(3, stream=DOOR)
        await at_broker(node, 0)
        await asyncio.to_thread(consumer.leave)
        await node.append(7, stream=DOOR)
        await at_broker(node, 7)
    await asyncio.to_thread(consumer.open)  # gets what was queued, and says so while the node is not there
    await until(lambda: len(consumer.stored()) == 10, within_s=20)
    async with storing_node(tmp_path / "outbox.sqlite3", identity=identity, port=broker.port) as node:
        await at_broker(node, 0)
        assert (await node.statistics()).acknowledged == 10
    await asyncio.to_thread(consumer.close)
