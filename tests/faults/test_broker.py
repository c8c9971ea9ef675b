"""A broker that dies, forgets, or is told something wrong in our name."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.contract.topics import Topics
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.outbox_rows import count_waiting
from tests.faults.audit import audit
from tests.faults.records import Record
from tests.faults.site import NODE, Site, mosquitto, telemetry_policy
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

_AWAY_S = 2.0
_WATCHED_S = 25.0


async def kill_and_wait(site: Site) -> None:
    """The broker dies, and the node knows."""
    lost = len(site.logged("link.lost"))
    await asyncio.to_thread(site.broker.kill)
    await site.until_logged("link.lost", times=lost + 1)


@pytest.mark.faults("Broker", "`kill -9` three times, back after 2 s each time; at the end it stays away")
async def test_a_broker_killed_and_back_costs_nothing(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        slowest_s = 0.0
        for _ in range(3):
            await site.flow(150)
            await kill_and_wait(site)
            await asyncio.sleep(_AWAY_S)
            await asyncio.to_thread(site.broker.start)
            slowest_s = max(slowest_s, await site.recover())
        await site.flow(150)
        await kill_and_wait(site)
        await until(lambda: count_waiting(site.agent.outbox_file) > 30, every_s=0.1)
        await site.finish()
        record.recovered_s = slowest_s
        record.take(found := site.audit())
        assert found.lost_count == 0, found.lost
        assert found.waiting > 30, "what was made while the broker was away has to wait"
        assert site.proxy.most_unacknowledged <= 20
        messages = site.agent.report().messages
        assert messages.produced == messages.acknowledged + messages.waiting
        assert (messages.produced, messages.lost) == (found.produced, 0)


@pytest.mark.faults("Broker", "`kill -9`, and back without its database")
async def test_a_broker_that_forgot_everything_is_told_anew(tmp_path: Path, record: Record) -> None:
    broker = mosquitto(tmp_path)
    async with Site(tmp_path, broker=broker) as site:
        await site.start()
        await site.flow(150)
        await until(broker.database.exists)
        await kill_and_wait(site)
        broker.database.unlink()
        heard = site.consumer.count
        await asyncio.to_thread(broker.start)
        record.recovered_s = await site.recover()
        await site.flow(60)
        told = {message.stream for message in site.consumer.messages(heard)}
        assert told >= {"state", "info", "health"}, "a broker without memory has to hear who is there"
        await site.finish()
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("Broker", "a stale `offline` stands in the node's name")
async def test_a_stale_will_is_overwritten_within_a_second(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        await site.flow(30)
        stale = b'{"v":1,"state":"offline","session":0,"time":"2020-01-01T00:00:00.000Z","reason":"will"}'
        overwritten_s = 0.0
        for _ in range(3):
            heard, since = site.consumer.count, time.monotonic()
            site.consumer.publish(Topics(SITE, NODE).state, stale, retain=True)
            await until(
                lambda heard=heard: (
                    [  # type: ignore[misc]
                        message.content["state"]
                        for message in site.consumer.messages(heard)
                        if message.stream == "state"
                    ]
                    == ["offline", "online"]
                ),
                within_s=5.0,
            )
            overwritten_s = max(overwritten_s, time.monotonic() - since)
            # A second one within half a second is waited for: two that overwrite each other help nobody.
            await site.flow(30)
        record.note(f"overwritten after {overwritten_s:.2f} s at most, in three times")
        await site.finish()
        record.take(found := site.audit())
        assert overwritten_s < 1.0
        assert (found.lost_count, found.waiting) == (0, 0)


@pytest.mark.faults("Broker", "a second agent with the same certificate and client id")
async def test_two_nodes_of_one_name_do_not_take_turns(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        await site.flow(60)
        double = AgentProcess(
            tmp_path / "double",
            identity=site.identity,
            port=site.broker.port,
            policy=telemetry_policy(),
        )
        with double.start():
            await site.until_logged("link.lost")
            # Both would be back within seconds, again and again.
            await asyncio.sleep(_WATCHED_S)
            logs = site.agent.log + double.log
            sessions = logs.count('"link.connected"')
            record.note(f"sessions of both in {_WATCHED_S:.0f} s: {sessions}")
            assert await asyncio.to_thread(double.stop) == 0
        await site.finish()
        record.take(mine := site.audit())
        record.take(other := audit(double.outbox_file, site.consumer.messages()))
        assert "taken-over" in logs, "it has to be told for what it is"
        assert sessions <= 4
        assert (mine.lost_count, other.lost_count) == (0, 0), (mine.lost, other.lost)
        retry_s = max(line.get("retry_in_s", 0.0) for line in site.logged("link.lost") + _lost(double))
        assert retry_s >= 60.0


def _lost(agent: AgentProcess) -> list[dict[str, float]]:
    return [line for line in agent.events if line["event"] == "link.lost"]
