"""The link against a broker that does what real ones do too rarely to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from agent.adapters.mqtt import MqttLink
from agent.adapters.mqtt.session import MqttSession
from agent.adapters.system.clock import SystemClock
from agent.domain.errors import Code, ConfigError, RefusedError, TransientError
from agent.ports import Ack, Closed, Inbound, Publication
from tests import mqtt_packets as mqtt
from tests.brokers import HOST, free_port
from tests.polling import until
from tests.scripted_broker import ScriptedBroker

WILL = Publication("base/state", b"offline", retain=True)
CLOCK = SystemClock()


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with ScriptedBroker() as broker:
        yield broker


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop(broker: ScriptedBroker) -> Iterator[None]:
    assert broker.port
    with blockbuster_ctx("agent"):
        yield


def link_of(port: int, host: str = HOST, **settings: Any) -> MqttLink:
    return MqttLink(
        host=host, port=port, client_id="nano-42", clock=CLOCK, tls=None, insecure=True, **settings
    )


@asynccontextmanager
async def session_of(
    broker: ScriptedBroker, *, keepalive_s: int = 20, **settings: Any
) -> AsyncIterator[MqttSession]:
    session = await link_of(broker.port, **settings).connect(will=WILL, keepalive_s=keepalive_s)
    try:
        yield session
    finally:
        await session.disconnect()


async def closed_of(session: MqttSession) -> Closed:
    async with asyncio.timeout(15):
        async for event in session.events():
            if isinstance(event, Closed):
                return event
    raise AssertionError("events ended without Closed")


async def refusal_of(link: MqttLink) -> TransientError:
    with pytest.raises(TransientError) as raised:
        await link.connect(will=WILL, keepalive_s=20)
    return raised.value


# --- CONNECT ----------------------------------------------------------------------------------------


async def test_connect_asks_for_a_clean_start_and_carries_the_will(broker: ScriptedBroker) -> None:
    async with session_of(broker, keepalive_s=17, username="nano-42"):
        body = broker.received[0].body
        assert body[:7] == mqtt.string("MQTT") + b"\x05"
        flags, keepalive_s = body[7], int.from_bytes(body[8:10], "big")
        # User name, will retained at QoS 1, clean start.
        assert flags == 0b1010_1110
        assert keepalive_s == 17
        asked, rest = mqtt.read_properties(body[10:])
        assert asked.values == {0x11: 0, 0x21: 32, 0x27: 328_144}
        assert rest.startswith(mqtt.string("nano-42"))
        will, rest = mqtt.read_properties(rest[len(mqtt.string("nano-42")) :])
        assert (will.values, will.user) == ({0x01: 1, 0x03: b"application/json"}, {"v": "1"})
        assert rest == mqtt.string("base/state") + mqtt.string("offline") + mqtt.string("nano-42")


async def test_the_password_is_read_anew_for_each_connection_and_shown_to_nobody_else(
    broker: ScriptedBroker, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("first-secret\n")
    link = await asyncio.to_thread(link_of, broker.port, username="nano-42", password_file=secret)
    await (await link.connect(will=WILL, keepalive_s=20)).disconnect()
    secret.write_bytes(b"second-secret\r\n")
    session = await link.connect(will=WILL, keepalive_s=20)
    await session.disconnect()
    connects = [packet.body for packet in broker.received if packet.kind == mqtt.CONNECT]
    assert connects[0].endswith(mqtt.string("first-secret"))
    assert connects[1].endswith(mqtt.string("second-secret"))
    assert "secret" not in f"{link!r} {session!r} {vars(link)}"


async def test_a_password_file_that_is_missing_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"password file .*missing cannot be read: No such file") as raised:
        link_of(1883, username="nano-42", password_file=tmp_path / "missing")
    assert raised.value.code == Code.FILE


@pytest.mark.parametrize(
    ("reason", "cause", "told"),
    [
        (0x01, "refused", "it does not speak MQTT 5"),
        (0x80, "refused", "it does not say why"),
        (0x84, "refused", "it does not speak MQTT 5"),
        (0x85, "refused", "is `node` what it expects?"),
        (0x86, "refused", "see `username` and `password_file`"),
        (0x87, "refused", "not authorised"),
        (0x88, "busy", "not available now"),
        (0x89, "busy", "it is busy"),
        (0x8A, "refused", "banned"),
        (0x8C, "refused", "another authentication method"),
        (0x95, "refused", "larger than it takes"),
        (0x97, "busy", "a quota is used up"),
        (0x9A, "refused", "no retained messages"),
        (0x9B, "refused", "QoS 0 only"),
        (0x9C, "busy", "another server is to be used for now"),
        (0x9D, "refused", "put its address into `broker.host`"),
        (0x9F, "busy", "too many connections"),
        (0xC7, "refused", "which no version of MQTT knows"),
    ],
)
async def test_a_refused_connection_is_told_with_what_to_do(
    broker: ScriptedBroker, reason: int, cause: str, told: str
) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(reason)
    error = await refusal_of(link_of(broker.port))
    assert (error.path, error.code) == (cause, Code.REFUSED)
    assert f"{HOST}:{broker.port} refused the connection: 0x{reason:02X}, " in error.message
    assert told in error.message


async def test_a_broker_of_mqtt_3_is_told_as_such(broker: ScriptedBroker) -> None:
    """Its CONNACK has no properties (MQTT 3.1.1, 3.2)."""
    broker.on_connect = lambda _packet: mqtt.packet(mqtt.CONNACK, b"\x00\x01")
    error = await refusal_of(link_of(broker.port))
    assert error.path == "refused"
    assert "it does not speak MQTT 5" in error.message


async def test_what_a_broker_says_of_its_refusal_is_quoted_within_bounds(broker: ScriptedBroker) -> None:
    said = b"\x1f" + mqtt.string("no\x1b[31m " + "x" * 500) + b"\x1c" + mqtt.string("other.example:8883")
    broker.on_connect = lambda _packet: mqtt.connack(0x9D, said)
    error = await refusal_of(link_of(broker.port))
    assert "it names other.example:8883, which is not followed" in error.message
    assert "(it says: no[31m xxx" in error.message
    assert len(error.message) < 600


async def test_an_answer_to_connect_that_cannot_be_read_ends_the_attempt(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.packet(mqtt.CONNACK, b"\x00\x00\x05\x21\x00")
    error = await refusal_of(link_of(broker.port))
    assert error.path == "closed"


@pytest.mark.parametrize(
    ("property_", "what"),
    [
        (b"\x24\x00", "QoS 0 only"),
        (b"\x25\x00", "no retained messages"),
        (mqtt.receive_maximum(0), "Receive Maximum of 0"),
        (mqtt.maximum_packet_size(0), "Maximum Packet Size of 0"),
    ],
)
async def test_a_broker_that_cannot_do_what_we_need_is_refused(
    broker: ScriptedBroker, property_: bytes, what: str
) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=property_)
    error = await refusal_of(link_of(broker.port))
    assert error.path == "refused"
    assert what in error.message


async def test_a_broker_that_does_not_answer_is_given_up(broker: ScriptedBroker) -> None:
    broker.silent = True
    link = link_of(broker.port, dial_timeout_s=0.2, connack_timeout_s=0.2)
    error = await refusal_of(link)
    assert (error.path, error.code) == ("timeout", Code.TIMEOUT)
    await until(lambda: not any(thread.name == "mqtt[nano-42]" for thread in threading.enumerate()))


async def test_a_cancelled_attempt_leaves_no_connection(broker: ScriptedBroker) -> None:
    broker.silent = True
    attempt = asyncio.create_task(link_of(broker.port).connect(will=WILL, keepalive_s=20))
    await until(lambda: broker.count(mqtt.CONNECT) == 1)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await until(lambda: not any(thread.name == "mqtt[nano-42]" for thread in threading.enumerate()))


async def test_a_name_without_an_address_is_told_as_dns() -> None:
    error = await refusal_of(link_of(1883, host="nowhere.invalid"))
    assert (error.path, error.code) == ("dns", Code.NETWORK)
    assert "nowhere.invalid" in error.message


async def test_name_resolution_that_hangs_is_given_up_and_never_piles_up_threads(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    resolve = socket.getaddrinfo

    def resolve_late(*arguments: Any, **options: Any) -> Any:
        answered.wait(20)
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
    link = link_of(broker.port, dial_timeout_s=0.1, connack_timeout_s=0.1)
    try:
        for _ in range(3):
            error = await refusal_of(link)
            assert (error.path, error.message) == ("timeout", "no session within 0.2 s")
        error = await refusal_of(link)
        assert "3 earlier attempts still hang, most likely in DNS" in error.message
    finally:
        answered.set()
    await until(lambda: not any(thread.name == "mqtt[nano-42]" for thread in threading.enumerate()))
    assert broker.count(mqtt.CONNECT) == 0
    await (await link.connect(will=WILL, keepalive_s=20)).disconnect()


async def test_a_port_where_nobody_listens_is_told_as_tcp() -> None:
    error = await refusal_of(link_of(free_port()))
    assert error.path == "tcp"
    assert "Connection refused" in error.message


async def test_a_line_that_takes_no_connection_is_told_as_timeout() -> None:
    # A full backlog: the kernel drops what comes in, as a firewall would.
    with socket.create_server((HOST, 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((HOST, port))
            waiting.append(one)
        error = await refusal_of(link_of(port, dial_timeout_s=0.5))
        for one in waiting:
            one.close()
    assert error.path == "timeout"


# --- limits -----------------------------------------------------------------------------------------


async def test_the_limits_of_connack_are_read(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(
        properties=mqtt.receive_maximum(3) + mqtt.maximum_packet_size(1_024) + mqtt.server_keep_alive(9)
    )
    async with session_of(broker) as session:
        limits = session.limits
        assert (limits.receive_maximum, limits.maximum_packet_size, limits.server_keep_alive_s) == (
            3,
            1_024,
            9,
        )


@pytest.mark.parametrize(
    "property_",
    [
        b"",
        b"\x24\x01" + b"\x25\x01",
        b"\x11" + (3_600).to_bytes(4, "big"),
        b"\x22" + (10).to_bytes(2, "big"),
        b"\x12" + mqtt.string("another-name"),
        b"\x2a\x00" + b"\x29\x00",
        b"\x1a" + mqtt.string("response/") + b"\x1c" + mqtt.string("other.example"),
        b"\x1f" + mqtt.string("welcome") + b"\x26" + mqtt.string("k") + mqtt.string("v"),
        mqtt.receive_maximum(65_535) + mqtt.maximum_packet_size(0xFFFF_FFFF) + mqtt.server_keep_alive(0),
    ],
    ids=["nothing", "all", "expiry", "aliases", "name", "no-shared", "server", "words", "largest"],
)
async def test_what_else_a_broker_offers_changes_nothing(broker: ScriptedBroker, property_: bytes) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=property_)
    async with session_of(broker, keepalive_s=2) as session:
        await session.subscribe(["base/state", "base/command/+/+"], no_local=True)
        session.publish(Publication("topic", b"x"))
        event = await anext(session.events())
        assert isinstance(event, Ack)
        # A server that wants no keepalive is pinged all the same: else a dead line were never noticed.
        await until(lambda: broker.count(mqtt.PINGREQ) >= 1)
        assert broker.published[0].topic == "topic"
        assert 0x23 not in broker.published[0].properties.values  # no topic alias, whatever it allows


async def test_a_server_keepalive_longer_than_ours_makes_us_no_slower(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.server_keep_alive(3_600))
    async with session_of(broker, keepalive_s=2) as session:
        assert session.limits.server_keep_alive_s == 3_600
        broker.silent = True
        since = time.monotonic()
        assert (await closed_of(session)).cause == "keepalive"
        assert time.monotonic() - since <= 4


async def test_without_wildcards_the_rest_is_subscribed_and_what_goes_unheard_is_told(
    broker: ScriptedBroker,
) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=b"\x28\x00")
    async with session_of(broker) as session:
        with pytest.raises(RefusedError, match=r"with wildcards: base/ack/#, base/c/\+ goes unheard"):
            await session.subscribe(["base/state", "base/ack/#", "base/c/+"], no_local=True)
        asked = [packet.body for packet in broker.received if packet.kind == mqtt.SUBSCRIBE]
        assert [mqtt.string("base/state") in body for body in asked] == [True]
        assert not any(b"#" in body or b"+" in body for body in asked)


@pytest.mark.parametrize("qos", [0, 1])
async def test_the_largest_packet_passes_and_one_byte_more_is_never_sent(
    broker: ScriptedBroker, qos: Any
) -> None:
    largest = 300
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.maximum_packet_size(largest))
    async with session_of(broker) as session:
        empty = Publication("base/detections/door", b"", qos=qos, expiry_s=60, properties={"replay": "1"})
        room = _room_in(empty, largest)
        session.publish(_with_payload(empty, b"x" * room))
        with pytest.raises(RefusedError, match="301 bytes, the broker takes 300") as raised:
            session.publish(_with_payload(empty, b"x" * (room + 1)))
        assert raised.value.code == Code.SIZE
        await until(lambda: len(broker.published) == 1)
        assert len(broker.published[0].payload) == room


def _with_payload(publication: Publication, payload: bytes) -> Publication:
    return Publication(
        publication.topic, payload, publication.qos, expiry_s=60, properties=publication.properties
    )


def _room_in(publication: Publication, largest: int) -> int:
    """Bytes left for the payload of a packet with a length of two bytes, by a count of our own."""
    properties = 2 + 5 + 3 + len("application/json") + (1 + 2 + 1 + 2 + 1) + (1 + 2 + 6 + 2 + 1)
    return largest - 3 - (2 + len(publication.topic)) - 2 * publication.qos - 1 - properties


@pytest.mark.parametrize(
    "publication",
    [
        Publication("base/+/x", b"{}"),
        Publication("t" * 70_000, b"{}"),
        Publication("topic", b"{}", properties={"k": "v" * 70_000}),
    ],
    ids=["wildcard", "long topic", "long property"],
)
async def test_what_no_packet_can_hold_is_refused_and_the_session_goes_on(
    broker: ScriptedBroker, publication: Publication
) -> None:
    async with session_of(broker) as session:
        with pytest.raises(RefusedError, match="cannot be packed") as raised:
            session.publish(publication)
        assert raised.value.code == Code.SCHEMA
        session.publish(Publication("topic", b"good"))
        await until(lambda: len(broker.published) == 1)
        assert broker.published[0].payload == b"good"


async def test_a_session_without_a_keepalive_is_a_mistake(broker: ScriptedBroker) -> None:
    with pytest.raises(ValueError, match="never noticed"):
        await link_of(broker.port).connect(will=WILL, keepalive_s=0)


async def test_an_identifier_that_still_waits_is_passed_over(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda _sent: None
    async with session_of(broker) as session:
        first = session.publish(Publication("topic", b"x"))
        assert session._client is not None
        session._client._last_mid = first - 1
        assert session.publish(Publication("topic", b"x")) == first + 1


# --- answers ----------------------------------------------------------------------------------------


async def test_an_answer_of_packet_too_large_is_an_ack_and_the_session_goes_on(
    broker: ScriptedBroker,
) -> None:
    broker.on_publish = lambda sent: mqtt.puback(sent.mid, 0x95 if sent.payload == b"large" else 0)
    async with session_of(broker) as session:
        tickets = [session.publish(Publication("topic", payload)) for payload in (b"large", b"small")]
        acks = []
        async with asyncio.timeout(10):
            async for event in session.events():
                assert isinstance(event, Ack)
                acks.append((event.ticket, event.reason))
                if len(acks) == 2:
                    break
        assert acks == [(tickets[0], 0x95), (tickets[1], 0)]


async def test_an_ack_tells_when_it_came(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        before_ns = CLOCK.now().monotonic_ns
        session.publish(Publication("topic", b"x"))
        event = await anext(session.events())
        assert isinstance(event, Ack)
        assert before_ns <= event.received_ns <= CLOCK.now().monotonic_ns


async def test_a_picture_is_announced_as_bytes_and_json_as_text(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        session.publish(Publication("a", b"{}", expiry_s=60, properties={"replay": "1"}))
        session.publish(Publication("b", b"\xff", content_type="image/jpeg", properties={"seq": "7"}))
        await until(lambda: len(broker.published) == 2)
        text, picture = (sent.properties for sent in broker.published)
        assert text.values == {0x01: 1, 0x02: 60, 0x03: b"application/json"}
        assert text.user == {"v": "1", "replay": "1"}
        assert picture.values == {0x01: 0, 0x03: b"image/jpeg"}
        assert picture.user == {"v": "1", "seq": "7"}


async def test_a_refused_subscription_names_its_topic(broker: ScriptedBroker) -> None:
    broker.on_subscribe = lambda mid, _count: mqtt.suback(mid, 1, 0x87)
    async with session_of(broker) as session:
        with pytest.raises(RefusedError, match=r"base/command \(0x87\)$"):
            await session.subscribe(["base/state", "base/command"], no_local=True)


async def test_a_subscription_ends_with_its_connection(broker: ScriptedBroker) -> None:
    broker.on_subscribe = lambda _mid, _count: b""
    async with session_of(broker) as session:
        asking = asyncio.create_task(session.subscribe(["base/state"], no_local=True))
        await until(lambda: broker.count(mqtt.SUBSCRIBE) == 1)
        broker.hang_up()
        with pytest.raises(TransientError):
            await asking


async def test_a_flood_at_qos_0_is_dropped_and_not_kept(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        broker.send(b"".join(mqtt.publish("base/command/x/1", b"{}") for _ in range(200)))
        await until(lambda: session._network.dropped > 0)
        broker.hang_up()
        closed = await closed_of(session)
        assert closed.cause == "closed"
        assert session._network.dropped + session._network.read == 200


async def test_a_broker_that_ignores_our_receive_maximum_is_left(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        flood = [mqtt.publish("base/command/x/1", b"{}", qos=1, mid=mid) for mid in range(1, 2_001)]
        broker.send(b"".join(flood))
        await until(lambda: session._closed is not None)
        assert session._closed is not None
        assert "without waiting" in session._closed.detail


async def test_a_message_larger_than_we_take_ends_the_session(broker: ScriptedBroker) -> None:
    async with session_of(broker, most_inbound_bytes=1_000) as session:
        broker.send(mqtt.publish("base/config/desired", b"x" * 200_000))
        closed = await closed_of(session)
        assert "67000 are allowed" in closed.detail


async def test_a_topic_that_is_no_utf8_hurts_nobody(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        broker.send(mqtt.packet(mqtt.PUBLISH, b"\x00\x02\xff\xfe\x00{}") + mqtt.publish("good", b"{}"))
        events = session.events()
        heard = [await anext(events), await anext(events)]
        assert [event.topic for event in heard if isinstance(event, Inbound)] == ["", "good"]


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (0x8E, "taken-over"),
        (0x8B, "server-shutdown"),
        (0x8D, "keepalive"),
        (0x98, "server-shutdown"),
        (0x87, "refused"),
        (0x82, "closed"),
        (0x89, "server-shutdown"),
        (0x96, "busy"),
        (0x97, "busy"),
        (0x9C, "server-shutdown"),
        (0x9D, "server-shutdown"),
        (0x9F, "busy"),
        (0xA2, "closed"),
        (0xC7, "closed"),
        (None, "closed"),
    ],
)
async def test_the_reason_of_a_disconnect_is_its_cause(
    broker: ScriptedBroker, reason: int | None, cause: str
) -> None:
    async with session_of(broker) as session:
        broker.send(mqtt.disconnect(reason))
        assert (await closed_of(session)).cause == cause


async def test_what_a_broker_says_at_the_end_is_told(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        broker.send(mqtt.disconnect(0x8E, b"\x1f" + mqtt.string("somebody else")))
        assert await closed_of(session) == Closed(
            "taken-over",
            "the broker ended the session: 0x8E, another client came with this node's name "
            "(it says: somebody else)",
        )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["connack", "session"])
async def test_a_broker_that_trickles_bytes_is_given_up(broker: ScriptedBroker, stage: str) -> None:
    """Something comes in all the time, and yet no packet is ever finished."""
    endless = mqtt.publish("base/config/desired", b"x" * 10_000)
    ended = threading.Event()

    def trickle() -> None:
        for byte in endless:
            if ended.wait(0.2):
                return
            with contextlib.suppress(OSError):
                broker.send(bytes([byte]))

    thread = threading.Thread(name="trickle", target=trickle, daemon=True)
    try:
        if stage == "connack":
            broker.on_connect = lambda _packet: thread.start()
            error = await refusal_of(link_of(broker.port, dial_timeout_s=1, connack_timeout_s=1))
            assert error.path == "timeout"
        else:
            async with session_of(broker, keepalive_s=2) as session:
                broker.silent = True
                thread.start()
                since = time.monotonic()
                assert (await closed_of(session)).cause == "keepalive"
                assert time.monotonic() - since <= 3 * 2
    finally:
        ended.set()


async def test_a_connection_that_ends_without_a_word_is_closed(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        broker.hang_up()
        assert await closed_of(session) == Closed("closed", "the broker closed the connection without a word")
        with pytest.raises(TransientError) as raised:
            session.publish(WILL)
        assert raised.value.path == "closed"
        with pytest.raises(TransientError):
            await session.subscribe(["base/state"], no_local=True)


async def test_silence_is_noticed_within_two_keepalives(broker: ScriptedBroker) -> None:
    async with session_of(broker, keepalive_s=2) as session:
        broker.silent = True
        since = time.monotonic()
        closed = await closed_of(session)
        assert closed.cause == "keepalive"
        assert time.monotonic() - since <= 4


async def test_silence_is_noticed_while_we_keep_talking(broker: ScriptedBroker) -> None:
    async with session_of(broker, keepalive_s=2) as session:
        broker.silent = True
        since = time.monotonic()

        async def talk() -> None:
            while session._closed is None:
                session.publish(Publication("topic", b"x", qos=0))
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        closed = await closed_of(session)
        assert closed.cause == "keepalive"
        assert time.monotonic() - since <= 4
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_quiet_session_stays(broker: ScriptedBroker) -> None:
    async with session_of(broker, keepalive_s=1) as session:
        await until(lambda: broker.count(mqtt.PINGREQ) >= 3)
        assert session._closed is None


async def test_the_servers_keepalive_is_kept(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.server_keep_alive(1))
    async with session_of(broker, keepalive_s=60):
        since = time.monotonic()
        await until(lambda: broker.count(mqtt.PINGREQ) >= 2)
        assert time.monotonic() - since < 10


async def test_leaving_says_so_and_ends_events(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        session.publish(Publication("topic", b"last"))
        await session.disconnect()
        await until(lambda: broker.count(mqtt.DISCONNECT) == 1)
        assert broker.received[-1].body in {b"", b"\x00"}
        assert [sent.payload for sent in broker.published] == [b"last"]
        assert (await closed_of(session)).cause == "closed"
        await session.disconnect()


async def test_leaving_a_broker_that_reads_nothing_is_bounded(broker: ScriptedBroker) -> None:
    async with session_of(broker) as session:
        stuck = threading.Event()
        broker.on_publish = lambda sent: mqtt.puback(sent.mid) if stuck.wait(20) else None
        try:
            for _ in range(200):
                session.publish(Publication("topic", b"x" * 100_000))
            async with asyncio.timeout(5):
                await session.disconnect()
            await until(lambda: session._closed is not None)
        finally:
            stuck.set()
        assert session._closed is not None
