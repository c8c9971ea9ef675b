"""The same agent on another broker, rumqttd: what it supports has to work there, too.

It keeps nothing on disk, has no access list, tells no Receive Maximum or Maximum Packet Size, and answers
with neither 0x10 nor 0x95: those faults are shown with mosquitto alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.outbox_rows import count_waiting
from tests.faults.records import Record
from tests.faults.rumqttd import Rumqttd
from tests.faults.site import Site
from tests.polling import until

pytestmark = pytest.mark.timeout(300)


@pytest.mark.faults("rumqttd", "none: everything is delivered, and the will speaks for a killed agent")
async def test_rumqttd_delivers_everything(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, broker=Rumqttd(tmp_path)) as site:
        await site.start()
        await site.flow(150)
        site.agent.kill()
        await until(lambda: [state["state"] for state in site.consumer.of("state")] == ["online", "offline"])
        await site.start()
        await site.flow(60)
        await site.finish()
        reasons = [state["reason"] for state in site.consumer.of("state")]
        assert "stopped" in reasons
        if reasons[-1] != "stopped":
            record.note("it publishes the will after an ordered DISCONNECT, too, which MQTT forbids")
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting, found.lost_by_broker_count) == (0, 0, 0), found.lost


@pytest.mark.faults("rumqttd", "`kill -9`, and back after 2 s, with nothing of what it held")
async def test_rumqttd_killed_and_back_costs_nothing(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, broker=Rumqttd(tmp_path)) as site:
        await site.start()
        await site.flow(150)
        await asyncio.to_thread(site.broker.kill)
        await site.until_logged("link.lost")
        await asyncio.sleep(2.0)
        await asyncio.to_thread(site.broker.start)
        record.recovered_s = await site.recover()
        await site.flow(60)
        await site.finish()
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("rumqttd", "the line reset every 5 s, four times")
async def test_rumqttd_over_a_flapping_line(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, broker=Rumqttd(tmp_path)) as site:
        await site.start()
        for _ in range(4):
            before = site.count()
            await asyncio.sleep(5.0)
            assert site.count() > before
            site.proxy.reset()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("rumqttd", "a backlog, and PUBACKs 100 ms late")
async def test_rumqttd_never_has_more_than_the_window(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, broker=Rumqttd(tmp_path)) as site:
        await site.start()
        site.go_offline()
        await until(lambda: count_waiting(site.agent.outbox_file) > 150, within_s=30, every_s=0.1)
        site.proxy.delay_down_s = 0.1
        site.come_online()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"{site.proxy.most_unacknowledged} on their way at most")
        record.take(found := site.audit())
        assert site.proxy.most_unacknowledged == 20
        assert (found.lost_count, found.waiting) == (0, 0), found.lost
