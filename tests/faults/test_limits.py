"""Brokers that take less than they are sent: in number, in size, or by their access list."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.contract.topics import Topics
from tests import mqtt_packets as mqtt
from tests.brokers import UPWARD
from tests.e2e.agent_process import SITE
from tests.e2e.outbox_rows import count_waiting, waiting_rows
from tests.faults.records import Record
from tests.faults.site import NODE, Site, mosquitto, telemetry_policy
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

_MAXIMUM_PACKET_SIZE = 0x27
_LINE_S = 0.1
_BACKLOG = 150

LARGE = "    board: {{kind: vibration, rate_hz: 50, report_every_s: {every_s}, report: all, seed: 9}}\n"
"""Every sample in one message: some 12 KB a second."""


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        pytest.param(1, 1, marks=pytest.mark.faults("Limits", "Receive Maximum 1")),
        pytest.param(65_535, 20, marks=pytest.mark.faults("Limits", "Receive Maximum 65,535, window 20")),
    ],
)
async def test_receive_maximum_and_window_bound_what_is_on_its_way(
    tmp_path: Path, record: Record, limit: int, most: int
) -> None:
    broker = mosquitto(tmp_path, f"max_inflight_messages {limit}")
    async with Site(tmp_path, broker=broker) as site:
        await site.start()
        site.go_offline()
        await until(lambda: count_waiting(site.agent.outbox_file) > _BACKLOG, within_s=30, every_s=0.1)
        # A backlog and a line that is slow: what may be on its way will be.
        site.proxy.delay_down_s = 0.01 if limit == 1 else _LINE_S
        site.come_online()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"{site.proxy.most_unacknowledged} on their way at most")
        record.take(found := site.audit())
        told = site.logged("link.connected")[-1]["receive_maximum"]
        assert told == limit
        assert site.proxy.most_unacknowledged == most
        assert (found.lost_count, found.waiting, found.declared) == (0, 0, 0), found.lost


@pytest.mark.faults("Limits", "Maximum Packet Size 1 KB, and some messages of 12 KB")
async def test_the_brokers_packet_size_sets_aside_what_is_larger(tmp_path: Path, record: Record) -> None:
    broker = mosquitto(tmp_path, "max_packet_size 1024")
    # Two sources: with more of them the node's health alone would be larger.
    policy = telemetry_policy(sensors=1, every_s=0.04, more=LARGE.format(every_s=1))
    async with Site(tmp_path, broker=broker, policy=policy) as site:
        await site.start()
        await site.flow(200)
        await site.finish()
        record.note("`info` and `health` are larger, too: the log tells what they cannot")
        _assert_only_the_large_are_set_aside(site, record)
        untold = {line["topic"] for line in site.logged("delivery.announcement_refused")}
        assert untold <= {Topics(SITE, NODE).info, Topics(SITE, NODE).health}


@pytest.mark.faults("Limits", "mosquitto's `message_size_limit`: 0x95 for what CONNACK allowed")
async def test_a_size_limit_that_connack_does_not_tell_costs_no_session(
    tmp_path: Path, record: Record
) -> None:
    broker = mosquitto(tmp_path, "message_size_limit 2048")
    policy = telemetry_policy(more=LARGE.format(every_s=1))
    async with Site(tmp_path, broker=broker, policy=policy) as site:
        await site.start()
        await site.flow(200)
        refused = [reason for each in site.proxy.connections for _sent, reason in each.answered if reason]
        await site.finish()
        assert 0x95 in refused
        _assert_only_the_large_are_set_aside(site, record)
        told = [health["stages"].get("delivery") for health in site.consumer.of("health")]
        assert any(stage and "telemetry/board" in (stage["message"] or "") for stage in told)


@pytest.mark.faults("Limits", "a broker that lies: it breaks the connection at what its CONNACK allowed")
async def test_a_message_that_breaks_the_connection_is_found_and_set_aside(
    tmp_path: Path, record: Record
) -> None:
    broker = mosquitto(tmp_path, "max_packet_size 4096")
    # One in twenty seconds: each costs three connections, and the waits between them.
    policy = telemetry_policy(more=LARGE.format(every_s=20))
    async with Site(tmp_path, broker=broker, policy=policy) as site:
        site.proxy.edit_down = _without_packet_size
        await site.start()
        await site.until_logged("delivery.row_refused", within_s=120)
        site.proxy.edit_down = None
        await site.flow(60)
        await site.wait_drained()
        await site.finish()
        culprit = site.logged("delivery.row_refused")[0]
        record.note(f"{len(site.logged('link.lost'))} connections were lost to it")
        record.take(found := site.audit())
        assert culprit["stream"] == "telemetry/board"
        assert found.lost_count == 0, found.lost
        declared = {loss["stream"] for loss in site.consumer.of("loss")}
        assert declared == {"telemetry/board"}, "nothing else may be set aside for it"
        assert not _still_waiting(site) - {"loss", "telemetry/board"}


@pytest.mark.faults("Limits", "the access list denies one stream of three (0x87)")
async def test_a_denied_stream_is_set_aside_and_the_rest_flows(tmp_path: Path, record: Record) -> None:
    allowed = [topic for topic in UPWARD if topic != "telemetry/#"]
    broker = mosquitto(tmp_path, upward=[*allowed, "telemetry/motor-1", "telemetry/motor-2"])
    async with Site(tmp_path, broker=broker) as site:
        await site.start()
        await site.flow(150)
        await site.finish()
        record.take(found := site.audit())
        streams = {message.stream for message in site.consumer.messages()}
        told = [health["stages"].get("delivery") for health in site.consumer.of("health")]
        assert {"telemetry/motor-1", "telemetry/motor-2"} <= streams
        assert "telemetry/motor-3" not in streams
        assert {(loss["stream"], loss["reason"]) for loss in site.consumer.of("loss")} == {
            ("telemetry/motor-3", "refused")
        }
        assert any(stage and "telemetry/motor-3 (0x87" in (stage["message"] or "") for stage in told)
        assert len(site.proxy.connections) == 1
        assert found.lost_count == 0, found.lost
        assert not _still_waiting(site) - {"loss", "telemetry/motor-3"}


@pytest.mark.faults("Limits", "nobody subscribes (0x10), then a consumer comes")
async def test_what_nobody_subscribes_to_is_told(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, listening=False) as site:
        await site.start()
        await site.flow(150)
        answers = {reason for each in site.proxy.connections for _sent, reason in each.answered}
        await asyncio.to_thread(site.consumer.open)
        await until(lambda: bool(site.consumer.of("health")))
        await site.flow(60)
        await site.finish()
        record.take(found := site.audit())
        stages = [health["stages"]["subscribers"] for health in site.consumer.of("health")]
        record.note(f"the retained health says: {stages[0]['message']}")
        assert 0x10 in answers
        assert "nobody subscribes to telemetry/motor-1" in stages[0]["message"]
        assert stages[-1]["status"] == "ok", "somebody came"
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


def _assert_only_the_large_are_set_aside(site: Site, record: Record) -> None:
    record.take(found := site.audit())
    received = {message.stream for message in site.consumer.messages()}
    declared = {(loss["stream"], loss["reason"]) for loss in site.consumer.of("loss")}
    assert declared == {("telemetry/board", "oversize")}
    assert "telemetry/board" not in received
    assert found.declared >= 2
    assert "telemetry/motor-1" in received
    assert {line["stream"] for line in site.logged("delivery.row_refused")} == {"telemetry/board"}
    assert len(site.proxy.connections) == 1, "no session may be lost to it"
    assert found.lost_count == 0, found.lost
    # A loss that was found while stopping is declared in the next life.
    assert not _still_waiting(site) - {"loss", "telemetry/board"}


def _still_waiting(site: Site) -> set[str]:
    return set(waiting_rows(site.agent.outbox_file))


def _without_packet_size(packet: mqtt.Packet) -> bytes:
    """A CONNACK that does not say how large a packet may be; every other packet as it is."""
    if packet.kind != mqtt.CONNACK:
        return mqtt.packet(packet.kind, packet.body, packet.flags)
    head, block = packet.body[:2], packet.body[3 : 3 + packet.body[2]]
    at = block.index(_MAXIMUM_PACKET_SIZE)
    kept = block[:at] + block[at + 5 :]
    return mqtt.packet(mqtt.CONNACK, head + mqtt.variable(len(kept)) + kept)
