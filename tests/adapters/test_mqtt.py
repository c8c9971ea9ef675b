"""The link to a real mosquitto with mutual TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.mqtt.session import MqttSession
from agent.adapters.system.clock import SystemClock
from agent.domain.errors import TransientError
from agent.ports import Ack, Closed, Inbound, Publication, SessionEvent
from tests.brokers import HOST, OPERATOR, Identity, Mosquitto

pytestmark = pytest.mark.broker

BASE = "edge/v1/plant/nano-42"
WILL = Publication(f"{BASE}/state", b'{"state":"offline"}', retain=True)
ONLINE = Publication(f"{BASE}/state", b'{"state":"online"}', retain=True)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def node(broker: Mosquitto) -> Identity:
    return broker.authority.issue("nano-42")


@pytest.fixture(scope="module")
def operator(broker: Mosquitto) -> Identity:
    return broker.authority.issue(OPERATOR)


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop(broker: Mosquitto) -> Iterator[None]:
    assert broker.port
    with blockbuster_ctx("agent"):
        yield


async def link_of(identity: Identity, port: int) -> MqttLink:
    files = TlsFiles(ca=identity.ca, certificate=identity.certificate, key=identity.key)
    # Files are read when it is made, which the app does before its loop runs.
    return await asyncio.to_thread(
        lambda: MqttLink(host=HOST, port=port, client_id=identity.name, clock=SystemClock(), tls=files)
    )


@asynccontextmanager
async def session_of(
    identity: Identity, port: int, *, will: Publication = WILL, keepalive_s: int = 20
) -> AsyncIterator[MqttSession]:
    session = await (await link_of(identity, port)).connect(will=will, keepalive_s=keepalive_s)
    try:
        yield session
    finally:
        await session.disconnect()


async def next_event(session: MqttSession) -> SessionEvent:
    async with asyncio.timeout(10):
        return await anext(session.events())


async def acks_of(session: MqttSession, count: int) -> list[tuple[int, int]]:
    acks = []
    async with asyncio.timeout(10):
        async for event in session.events():
            assert isinstance(event, Ack), event
            acks.append((event.ticket, event.reason))
            if len(acks) == count:
                break
    return acks


async def closed_of(session: MqttSession) -> Closed:
    async with asyncio.timeout(15):
        async for event in session.events():
            if isinstance(event, Closed):
                return event
    raise AssertionError("events ended without Closed")


async def test_the_brokers_limits_are_read(broker: Mosquitto, node: Identity) -> None:
    async with session_of(node, broker.port) as session:
        # mosquitto's default max_inflight_messages.
        assert session.limits.receive_maximum == 20
        assert session.limits.maximum_packet_size is None


async def test_every_publish_is_answered_with_its_reason(broker: Mosquitto, node: Identity) -> None:
    async with session_of(node, broker.port) as session:
        allowed = session.publish(Publication(f"{BASE}/telemetry/motor", b"{}"))
        denied = session.publish(Publication("edge/v1/plant/nano-43/telemetry/motor", b"{}"))
        assert await acks_of(session, 2) == [(allowed, 0x10), (denied, 0x87)]


async def test_a_message_arrives_with_all_its_properties(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    async with session_of(operator, broker.port) as reader, session_of(node, broker.port) as writer:
        await reader.subscribe([f"{BASE}/detections/+", f"{BASE}/snapshots/+"], no_local=False)
        writer.publish(
            Publication(f"{BASE}/detections/door", b'{"v":1}', expiry_s=60, properties={"replay": "1"})
        )
        event = await next_event(reader)
        assert isinstance(event, Inbound)
        assert (event.topic, event.payload) == (f"{BASE}/detections/door", b'{"v":1}')
        assert event.properties == {"v": "1", "replay": "1"}
        assert event.expiry_s is not None
        assert 55 <= event.expiry_s <= 60
        assert not event.retained


async def test_a_retained_value_is_there_for_who_comes_later(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    async with session_of(node, broker.port) as writer:
        writer.publish(Publication(f"{BASE}/health", b"ok", retain=True))
        await acks_of(writer, 1)
    async with session_of(operator, broker.port) as reader:
        await reader.subscribe([f"{BASE}/health"], no_local=True)
        event = await next_event(reader)
        assert isinstance(event, Inbound)
        assert (event.payload, event.retained) == (b"ok", True)


async def test_no_local_spares_us_our_own_words(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    async with session_of(node, broker.port) as session:
        await session.subscribe([f"{BASE}/state"], no_local=True)
        session.publish(ONLINE)
        async with session_of(operator, broker.port) as other:
            other.publish(Publication(f"{BASE}/state", b"stale", retain=False))
            heard = []
            async with asyncio.timeout(10):
                async for event in session.events():
                    if isinstance(event, Inbound) and not event.retained:
                        heard.append(event.payload)
                        break
        assert heard == [b"stale"]


async def test_a_thousand_messages_are_all_acknowledged_once(broker: Mosquitto, node: Identity) -> None:
    async with session_of(node, broker.port) as session:
        publication = Publication(f"{BASE}/telemetry/motor", b"x" * 400, expiry_s=60)
        tickets = [session.publish(publication) for _ in range(10)]
        answered = []
        async with asyncio.timeout(20):
            async for event in session.events():
                assert isinstance(event, Ack)
                answered.append(event.ticket)
                if len(tickets) < 1_000:
                    tickets.append(session.publish(publication))
                if len(answered) == 1_000:
                    break
        assert answered == tickets


async def test_an_ordered_end_leaves_no_will(broker: Mosquitto, node: Identity, operator: Identity) -> None:
    async with session_of(node, broker.port) as session:
        session.publish(ONLINE)
        await acks_of(session, 1)
    async with session_of(operator, broker.port) as reader:
        await reader.subscribe([f"{BASE}/state"], no_local=True)
        event = await next_event(reader)
        assert isinstance(event, Inbound)
        assert event.payload == ONLINE.payload


async def test_a_broken_connection_leaves_the_will(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    async with session_of(operator, broker.port) as reader:
        async with session_of(node, broker.port) as session:
            await reader.subscribe([f"{BASE}/state"], no_local=True)
            session._network.give_up()
            assert (await closed_of(session)).cause == "closed"
        payloads = []
        async with asyncio.timeout(10):
            async for event in reader.events():
                if isinstance(event, Inbound) and not event.retained:
                    payloads.append(event.payload)
                    break
        assert payloads == [WILL.payload]


async def test_what_was_published_before_leaving_is_delivered(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    async with session_of(operator, broker.port) as reader:
        await reader.subscribe([f"{BASE}/events/+"], no_local=True)
        async with session_of(node, broker.port) as session:
            for number in range(20):
                session.publish(Publication(f"{BASE}/events/crowd", json.dumps(number).encode()))
        numbers = []
        async with asyncio.timeout(10):
            async for event in reader.events():
                assert isinstance(event, Inbound)
                numbers.append(json.loads(event.payload))
                if len(numbers) == 20:
                    break
        assert numbers == list(range(20))


async def test_what_is_published_to_be_kept_says_so_where_that_was_asked_for(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    """A command that comes while the node is there is retained all the same."""
    async with session_of(operator, broker.port) as writer, session_of(node, broker.port) as reader:
        commands, desired = f"{BASE}/command/+/+", f"{BASE}/config/desired"
        await reader.subscribe([desired, commands], no_local=True, as_published=[commands])
        for retain in (True, False):
            for topic in (f"{BASE}/command/ping/1", desired):
                writer.publish(Publication(topic, b"{}", retain=retain))
                await acks_of(writer, 1)
        writer.publish(Publication(f"{BASE}/command/ping/1", b"", retain=True))  # takes it away again
        writer.publish(Publication(desired, b"", retain=True))
        flags: list[tuple[str, bool]] = []
        async with asyncio.timeout(10):
            async for event in reader.events():
                assert isinstance(event, Inbound)
                flags.append((event.topic.removeprefix(f"{BASE}/"), event.retained))
                if len(flags) == 4:
                    break
    assert flags == [
        ("command/ping/1", True),
        ("config/desired", False),
        ("command/ping/1", False),
        ("config/desired", False),
    ]


async def test_messages_that_nobody_reads_do_not_pile_up(
    broker: Mosquitto, node: Identity, operator: Identity
) -> None:
    """The broker is not told that they arrived, so it holds the rest back."""
    async with session_of(operator, broker.port) as writer, session_of(node, broker.port) as reader:
        await reader.subscribe([f"{BASE}/command/+/+"], no_local=True)
        for number in range(100):
            writer.publish(Publication(f"{BASE}/command/ping/{number}", b"{}"))
            await acks_of(writer, 1)
        assert len(reader._events) <= 32
        numbers = []
        async with asyncio.timeout(10):
            async for event in reader.events():
                assert isinstance(event, Inbound)
                numbers.append(int(event.topic.rpartition("/")[2]))
                if len(numbers) == 100:
                    break
        assert numbers == list(range(100))


async def test_a_killed_broker_is_noticed_and_found_again(tmp_path: Path) -> None:
    broker = await asyncio.to_thread(lambda: Mosquitto(tmp_path).start())
    try:
        node = broker.authority.issue("nano-42")
        link = await link_of(node, broker.port)
        session = await link.connect(will=WILL, keepalive_s=20)
        await asyncio.to_thread(broker.kill)
        assert (await closed_of(session)).cause == "closed"
        with pytest.raises(TransientError) as raised:
            session.publish(ONLINE)
        assert raised.value.path == "closed"
        with pytest.raises(TransientError) as raised:
            await link.connect(will=WILL, keepalive_s=20)
        assert raised.value.path == "tcp"
        await asyncio.to_thread(broker.start)
        again = await link.connect(will=WILL, keepalive_s=20)
        again.publish(ONLINE)
        assert len(await acks_of(again, 1)) == 1
        await again.disconnect()
    finally:
        await asyncio.to_thread(broker.stop)


async def test_mosquittos_own_size_limit_is_survived(tmp_path: Path) -> None:
    """It answers 0x95, which a bare paho takes for a malformed packet."""
    limited = ["message_size_limit 1000"]
    broker = await asyncio.to_thread(lambda: Mosquitto(tmp_path, extra=limited).start())
    try:
        async with session_of(broker.authority.issue("nano-42"), broker.port) as session:
            large = session.publish(Publication(f"{BASE}/telemetry/motor", b"x" * 2_000))
            small = session.publish(Publication(f"{BASE}/telemetry/motor", b"x"))
            assert await acks_of(session, 2) == [(large, 0x95), (small, 0x10)]
    finally:
        await asyncio.to_thread(broker.stop)


async def test_a_client_with_our_name_takes_over(broker: Mosquitto, node: Identity) -> None:
    async with session_of(node, broker.port) as first, session_of(node, broker.port) as second:
        # mosquitto 2.0.11 says nothing, later ones 0x8E.
        assert (await closed_of(first)).cause in {"closed", "taken-over"}
        second.publish(ONLINE)
        assert len(await acks_of(second, 1)) == 1
