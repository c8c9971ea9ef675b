"""`keep_until: stored`: what a broker acknowledged and lost reaches a consumer that asks for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.contract.topics import Topics
from tests.brokers import Mosquitto
from tests.e2e.agent_process import SITE
from tests.e2e.outbox_rows import count_waiting, given_numbers
from tests.faults.records import Record
from tests.faults.site import NODE, Site, telemetry_policy
from tests.polling import until
from tests.storing_consumer import StoringConsumer
from tests.storing_node import storing_node

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


@pytest.mark.faults("Broker", "`keep_until: stored`, `kill -9` twice without a database, the consumer away")
async def test_a_consumer_in_stored_mode_ends_with_no_gap(tmp_path: Path, record: Record) -> None:
    broker = Mosquitto(tmp_path, extra=["max_queued_messages 1000000"])
    policy = telemetry_policy(publish="  publish: {keep_until: stored}\n")
    async with Site(tmp_path, broker=broker, policy=policy, listening=False) as site:
        consumer = await asyncio.to_thread(
            lambda: StoringConsumer(
                tmp_path / "consumer.sqlite3",
                authority=broker.authority,
                port=broker.port,
                base=Topics(SITE, NODE).base,
            )
        )
        await asyncio.to_thread(consumer.open)
        await site.start()
        slowest_s = 0.0
        for _ in range(2):
            await site.flow(150)
            await asyncio.to_thread(consumer.leave)
            # Acknowledged, queued for the consumer, and nowhere else.
            await site.flow(90)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(1.0)
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(consumer.open)
            slowest_s = max(slowest_s, await site.recover())
        await site.flow(60)
        await site.finish()
        file = site.agent.outbox_file
        produced = sum(given_numbers(file).values())
        lost_by_broker = sum(last - first + 1 for gaps in consumer.gaps().values() for first, last in gaps)
        # Until there are commands, a replay is asked for in the node's own process.
        async with storing_node(file, identity=site.identity, port=broker.port) as node:
            ranges = await consumer.ask_for_gaps(node.keeping.replay)
            await until(lambda: not consumer.gaps(), within_s=60, every_s=0.1)
            # With the consumer's acks everything may go.
            await until(lambda: count_waiting(file) == 0, within_s=30, every_s=0.1)
        had = consumer.stored()
        given = {(stream, seq) for stream, count in given_numbers(file).items() for seq in range(count)}
        missing = given - {(stream, seq) for _epoch, stream, seq in had}
        await asyncio.to_thread(consumer.close)
        record.produced = produced
        record.received = len(had)
        record.waiting = count_waiting(file)
        record.lost = len(missing)
        record.lost_by_broker = 0
        record.recovered_s = slowest_s
        record.note(
            f"the broker lost {lost_by_broker} that it had acknowledged; {ranges} replays brought them"
        )
        assert lost_by_broker >= 90, "the broker has to lose what only it had"
        assert not missing
        assert record.waiting == 0
        assert len({epoch for epoch, _stream, _seq in had}) == 1
