"""What paho 2.2 does, as far as the MQTT adapter relies on it or works around it.

A failure here means that paho has changed: then the adapter's reason for doing something has changed too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.adapters.mqtt.client import PahoClient
from agent.adapters.mqtt.packets import PackedProperties, connect_properties, properties_of
from agent.adapters.mqtt.wire import Wire
from agent.ports import Publication
from tests import mqtt_packets as mqtt
from tests.brokers import HOST
from tests.polling import until_blocking
from tests.scripted_broker import ScriptedBroker


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with ScriptedBroker() as broker:
        yield broker


class Heard:
    """A bare client's callbacks."""

    def __init__(self, client: Client) -> None:
        self.connected: list[Any] = []
        self.acks: list[tuple[int, int]] = []
        self.disconnects: list[tuple[bool, int]] = []
        self.messages: list[bytes] = []
        client.on_connect = lambda _c, _u, _f, reason, _p: self.connected.append(reason)
        client.on_publish = lambda _c, _u, mid, reason, _p: self.acks.append((mid, reason.value))
        client.on_message = lambda _c, _u, message: self.messages.append(bytes(message.payload))
        client.on_disconnect = lambda _c, _u, flags, reason, _p: self.disconnects.append(
            (flags.is_disconnect_packet_from_server, reason.value)
        )


def bare_client(**settings: Any) -> Client:
    return Client(
        CallbackAPIVersion.VERSION2,
        client_id="canary",
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
        **settings,
    )


@contextmanager
def running(
    broker: ScriptedBroker, client: Client | None = None, *, keepalive_s: int = 60
) -> Iterator[tuple[Client, Heard]]:
    client = client or bare_client()
    heard = Heard(client)
    client.connect(HOST, broker.port, keepalive_s)
    client.loop_start()
    try:
        until_blocking(lambda: bool(heard.connected))
        yield client, heard
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_refused_publish_comes_back_as_an_ack(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda sent: mqtt.puback(sent.mid, 0x87)
    with running(broker) as (client, heard):
        sent = client.publish("topic", b"x", qos=1)
        until_blocking(lambda: heard.acks == [(sent.mid, 0x87)])
        assert sent.is_published()


def test_a_puback_of_packet_too_large_ends_the_connection_of_a_bare_client(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda sent: mqtt.puback(sent.mid, 0x95)
    with running(broker) as (client, heard):
        client.publish("topic", b"x", qos=1)
        until_blocking(lambda: bool(heard.disconnects))
        assert heard.acks == []


@pytest.mark.parametrize("reason", [0x00, 0x10, 0x80, 0x87, 0x95, 0x97, 0xC7])
@pytest.mark.parametrize("properties", [None, b"", b"\x1f\x00\x02no"], ids=["bare", "empty", "reasoned"])
def test_our_client_reads_every_reason(broker: ScriptedBroker, reason: int, properties: bytes | None) -> None:
    broker.on_publish = lambda sent: mqtt.puback(sent.mid, reason, properties)
    with our_client(broker) as (client, acks, turn):
        sent = client.publish("topic", b"x", qos=1)
        turn(lambda: bool(acks))
        assert acks == [(sent.mid, reason)]
        assert client.is_connected()


def test_receive_maximum_is_not_honoured_by_a_bare_client(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.receive_maximum(1))
    broker.on_publish = lambda _sent: None
    with running(broker) as (client, _heard):
        for _ in range(5):
            client.publish("topic", b"x", qos=1)
        until_blocking(lambda: len(broker.published) == 5)
        assert len(broker.published) == 5


def test_maximum_packet_size_is_not_honoured_by_a_bare_client(broker: ScriptedBroker) -> None:
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.maximum_packet_size(64))
    with running(broker) as (client, _heard):
        client.publish("topic", b"x" * 1_000, qos=1)
        until_blocking(lambda: len(broker.published) == 1)
        assert len(broker.published[0].payload) == 1_000


@pytest.mark.parametrize("reason", [0x8B, 0x8D, 0x8E, 0x98])
def test_a_disconnect_without_properties_tells_its_reason(broker: ScriptedBroker, reason: int) -> None:
    with running(broker) as (_client, heard):
        broker.send(mqtt.disconnect(reason))
        until_blocking(lambda: bool(heard.disconnects))
        assert heard.disconnects[0] == (True, reason)


def test_a_failed_publish_stays_in_its_queue(broker: ScriptedBroker) -> None:
    with running(broker) as (client, heard):
        broker.hang_up()
        until_blocking(lambda: bool(heard.disconnects))
        sent = client.publish("topic", b"x", qos=1)
        assert sent.rc == MQTTErrorCode.MQTT_ERR_NO_CONN
        assert sent.mid in client._out_messages


def test_what_exceeds_its_own_window_is_queued_in_silence(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda _sent: None
    client = bare_client()
    client.max_inflight_messages_set(2)
    with running(broker, client):
        codes = [client.publish("topic", b"x", qos=1).rc for _ in range(3)]
        assert codes == [MQTTErrorCode.MQTT_ERR_SUCCESS] * 3
        until_blocking(lambda: len(broker.published) == 2)
        assert len(client._out_messages) == 3


def test_an_identifier_in_use_is_refused_and_the_next_one_tried_works(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda _sent: None
    with running(broker) as (client, _heard):
        first = client.publish("topic", b"x", qos=1)
        client._last_mid = first.mid - 1
        assert client.publish("topic", b"x", qos=1).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
        assert client.publish("topic", b"x", qos=1).rc == MQTTErrorCode.MQTT_ERR_SUCCESS


def test_messages_are_not_acknowledged_before_they_are_read(broker: ScriptedBroker) -> None:
    with running(broker, bare_client(manual_ack=True)) as (client, heard):
        broker.send(mqtt.publish("topic", b"x", qos=1, mid=7) + mqtt.publish("topic", b"y"))
        until_blocking(lambda: heard.messages == [b"x", b"y"])
        assert broker.pubacks == []
        client.ack(7, 1)
        until_blocking(lambda: [ack.mid for ack in broker.pubacks] == [7])
        assert len(broker.pubacks) == 1


def test_a_lost_keepalive_is_told_as_such(broker: ScriptedBroker) -> None:
    with running(broker, keepalive_s=1) as (_client, heard):
        broker.silent = True
        until_blocking(lambda: bool(heard.disconnects))
        assert heard.disconnects[0] == (False, 0x8D)


def test_packed_properties_are_the_bytes_that_paho_makes() -> None:
    theirs = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    theirs.PayloadFormatIndicator = 1
    theirs.MessageExpiryInterval = 86_400
    theirs.ContentType = "application/json"
    theirs.UserProperty = [("v", "1"), ("replay", "1")]
    ours = properties_of(Publication("topic", b"{}", expiry_s=86_400, properties={"replay": "1"}))
    assert isinstance(ours, Properties)
    read = [mqtt.read_properties(p.pack())[0] for p in (ours, theirs)]  # type: ignore[no-untyped-call]
    assert read[0] == read[1]
    assert len(ours.pack()) == len(theirs.pack())  # type: ignore[no-untyped-call]


def test_packed_properties_of_connect_are_the_bytes_that_paho_makes() -> None:
    theirs = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    theirs.SessionExpiryInterval = 0
    theirs.ReceiveMaximum = 32
    theirs.MaximumPacketSize = 300_000
    ours = connect_properties(receive_maximum=32, maximum_packet_size=300_000)
    assert ours.pack() == theirs.pack()  # type: ignore[no-untyped-call]


def test_pack_is_all_that_paho_asks_of_properties_while_it_sends(broker: ScriptedBroker) -> None:
    packed = PackedProperties(b"\x07\x26\x00\x01v\x00\x011")
    with running(broker) as (client, _heard):
        client.publish("topic", b"x", qos=1, properties=packed)
        until_blocking(lambda: len(broker.published) == 1)
        assert broker.published[0].properties.user == {"v": "1"}


# --- our subclass -----------------------------------------------------------------------------------


@contextmanager
def our_client(
    broker: ScriptedBroker,
    *,
    largest_packet_bytes: int = 10_000,
    ends: list[tuple[int, dict[str, Any]]] | None = None,
) -> Iterator[tuple[PahoClient, list[tuple[int, int]], Callable[[Callable[[], bool]], None]]]:
    """A client of ours without a thread: `turn` runs its loop until a condition holds."""
    connection = socket.create_connection((HOST, broker.port))
    wire = Wire(connection, largest_packet_bytes=largest_packet_bytes)
    acks: list[tuple[int, int]] = []
    ends = [] if ends is None else ends
    client = PahoClient(
        client_id="canary",
        wire=wire,
        on_puback=lambda mid, reason: acks.append((mid, reason)),
        on_connack=lambda _reason, _given: None,
        on_server_disconnect=lambda reason, given: ends.append((reason, given)),
    )

    def turn(condition: Callable[[], bool]) -> None:
        def step() -> bool:
            client.loop(0.01)
            return condition()

        until_blocking(step, every_s=0)

    client.connect(HOST, broker.port, 60)
    try:
        turn(client.is_connected)
        yield client, acks, turn
    finally:
        wire.finish(linger_s=0)
        client.release()


def test_our_client_uses_the_connection_made_for_it(broker: ScriptedBroker) -> None:
    with our_client(broker) as (client, _acks, _turn):
        assert isinstance(client.socket(), Wire)
        assert broker.connections == 1


def test_a_bare_client_writes_in_the_callers_thread_and_ours_does_not(broker: ScriptedBroker) -> None:
    bare = bare_client()
    bare.connect(HOST, broker.port)
    assert not bare.want_write()
    bare.disconnect()
    with our_client(broker) as (client, _acks, turn):
        client.publish("topic", b"x", qos=1)
        assert client.want_write()
        turn(lambda: not client.want_write())
        until_blocking(lambda: len(broker.published) == 1)


def test_packets_that_arrive_together_are_all_read(broker: ScriptedBroker) -> None:
    broker.on_publish = lambda _sent: None
    with our_client(broker) as (client, acks, turn):
        mids = [client.publish("topic", b"x", qos=1).mid for _ in range(50)]
        turn(lambda: not client.want_write())
        until_blocking(lambda: len(broker.published) == 50)
        broker.send(b"".join(mqtt.puback(mid) for mid in mids))
        turn(lambda: len(acks) == 50)
        assert [mid for mid, _reason in acks] == mids


def test_a_packet_larger_than_we_take_ends_the_connection(broker: ScriptedBroker) -> None:
    with our_client(broker, largest_packet_bytes=1_000) as (client, _acks, turn):
        wire = client.socket()
        broker.send(mqtt.publish("topic", b"x" * 2_000))
        turn(lambda: client.socket() is None)
        assert isinstance(wire, Wire)
        assert "are allowed" in str(wire.error)


def test_a_puback_for_nothing_is_ignored(broker: ScriptedBroker) -> None:
    with our_client(broker) as (client, acks, turn):
        broker.send(mqtt.puback(99))
        sent = client.publish("topic", b"x", qos=1)
        turn(lambda: bool(acks))
        assert acks == [(sent.mid, 0)]


def test_our_beat_is_the_keepalive(broker: ScriptedBroker) -> None:
    with our_client(broker) as (client, _acks, _turn):
        client.beat(3)
        assert client.keepalive == pytest.approx(2)


def test_a_large_maximum_packet_size_is_malformed_to_a_bare_client(broker: ScriptedBroker) -> None:
    """HiveMQ's own default."""
    broker.on_connect = lambda _packet: mqtt.connack(properties=mqtt.maximum_packet_size(268_435_460))
    client = bare_client()
    client.connect(HOST, broker.port)
    until_blocking(lambda: client.loop(0.01) == MQTTErrorCode.MQTT_ERR_PROTOCOL)
    client.disconnect()
    with our_client(broker) as (ours, _acks, _turn):
        assert ours.is_connected()


@pytest.mark.parametrize("reason", [0x00, 0x04, 0x8B, 0x8E, 0x9C, 0xC7])
@pytest.mark.parametrize(
    ("properties", "given"),
    [
        (None, {}),
        (b"", {}),
        (b"\x1f\x00\x02no", {"ReasonString": "no"}),
        (b"\x1f\x00\x09no", {}),
    ],
    ids=["bare", "empty", "reasoned", "malformed"],
)
def test_our_client_reads_every_disconnect(
    broker: ScriptedBroker, reason: int, properties: bytes | None, given: dict[str, Any]
) -> None:
    ends: list[tuple[int, dict[str, Any]]] = []
    with our_client(broker, ends=ends) as (client, _acks, turn):
        broker.send(mqtt.disconnect(reason, properties))
        turn(lambda: bool(ends))
        assert ends == [(reason, given)]
        assert client.loop(0) != MQTTErrorCode.MQTT_ERR_SUCCESS


def test_a_disconnect_of_nothing_at_all_is_reason_0(broker: ScriptedBroker) -> None:
    ends: list[tuple[int, dict[str, Any]]] = []
    with our_client(broker, ends=ends) as (_client, _acks, turn):
        broker.send(mqtt.disconnect())
        turn(lambda: bool(ends))
        assert ends == [(0, {})]


def test_a_disconnect_for_a_reason_that_paho_does_not_know_raises_in_a_bare_client(
    broker: ScriptedBroker,
) -> None:
    client = bare_client()
    client.connect(HOST, broker.port)
    until_blocking(lambda: client.loop(0.01) == MQTTErrorCode.MQTT_ERR_SUCCESS and client.is_connected())
    broker.send(mqtt.disconnect(0xC7))
    codes: list[int] = []

    def loop() -> bool:
        codes.append(client.loop(0.01))
        return codes[-1] != MQTTErrorCode.MQTT_ERR_SUCCESS

    until_blocking(loop)
    assert codes[-1] == MQTTErrorCode.MQTT_ERR_PROTOCOL
    client.disconnect()
