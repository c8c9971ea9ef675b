"""The network thread of one connection: dials, says CONNECT, then runs paho until the connection ends."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.adapters.mqtt.causes import Cause, no_connection
from agent.adapters.mqtt.client import PahoClient
from agent.adapters.mqtt.credentials import Credentials
from agent.adapters.mqtt.dial import Broker, Floor, dial
from agent.adapters.mqtt.events import Arrived, Ended, Established, NetworkEvent, Subscribed
from agent.adapters.mqtt.packets import connect_properties, properties_of, values_of
from agent.adapters.mqtt.reasons import of_connack, of_disconnect, what_is_lacking
from agent.adapters.mqtt.tls import explain
from agent.adapters.mqtt.wire import Wire
from agent.domain.errors import ConfigError, TransientError
from agent.domain.stamp import rfc3339
from agent.ports import Ack, Clock, Closed, Inbound, Limits, Publication

log = structlog.get_logger(__name__)

_MOST_UNREAD = 32
"""Messages that the broker may send ahead of our reading them: at QoS 1 it waits, at QoS 0 we drop."""

_FAR_TOO_MANY = 1_024
"""A broker that sends so many ahead does not honour our Receive Maximum (mosquitto 2.0 goes beyond, too)."""

_LINGER_S = 1.0

_PATIENCE = 2
"""Keepalives within which a ping is answered where bytes do come in: it may wait behind a large message."""

_PACKET_OVERHEAD_BYTES = 66_000
"""Topic and properties beside an inbound payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What CONNECT asks for. `read_password` and `credentials` are called in the network thread.

    Without `credentials` it is plain text.
    """

    broker: Broker
    credentials: Callable[[], Credentials] | None
    floor: Floor
    client_id: str
    username: str | None
    read_password: Callable[[], str | None]
    will: Publication | None
    keepalive_s: int
    timeout_s: float
    most_inbound_bytes: int


class Network:
    """One connection's thread. All that happens goes to `post`, in order, `Ended` last."""

    def __init__(self, *, asked: Asked, clock: Clock, post: Callable[[NetworkEvent], None]) -> None:
        self._asked = asked
        self._largest_packet_bytes = asked.most_inbound_bytes + _PACKET_OVERHEAD_BYTES
        self._clock = clock
        self._post = post
        self._given_up = False
        self._leaving = False
        self._socket: socket.socket | None = None
        self._wire: Wire | None = None
        self._paho: PahoClient | None = None
        self.credentials: Credentials | None = None
        """What was shown to the broker."""
        self._established = False
        self._cause: Cause | None = None
        self._detail = ""
        self.read = 0
        """Messages that the reader has taken; it counts them here."""
        self.dropped = 0
        """Messages at QoS 0 that came faster than they were read."""
        self._arrived = 0
        self._thread = threading.Thread(target=self._run, name=f"mqtt[{asked.client_id}]", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def leave(self, client: PahoClient) -> None:
        """End the connection in order, after what was published."""
        self._leaving = True
        client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Normal disconnection"))

    def give_up(self) -> None:
        """End the connection, or the attempt, at once. From any thread."""
        self._given_up = True
        wire, dialled = self._wire, self._socket
        if wire is not None:
            wire.abort()
        elif dialled is not None:
            Wire(dialled, largest_packet_bytes=0).abort()

    def _run(self) -> None:
        error: TransientError | None = None
        closed = Closed("closed", "the network thread ended unexpectedly")
        try:
            self._converse()
        except TransientError as failure:
            error = failure
            closed = Closed(failure.path, failure.message)
        else:
            closed = self._why()
            if not self._established:
                error = no_connection(self._cause or "closed", closed.detail)
        finally:
            self._post(Ended(closed, error))

    def _converse(self) -> None:
        asked = self._asked
        if asked.credentials is not None:
            self.credentials = asked.credentials()
        connected = dial(
            asked.broker,
            self.credentials,
            floor=asked.floor,
            timeout_s=asked.timeout_s,
            on_socket=self._note,
        )
        wire = Wire(connected, largest_packet_bytes=self._largest_packet_bytes)
        self._wire = wire
        client = self._client(wire)
        try:
            client.connect(
                asked.broker.host,
                asked.broker.port,
                asked.keepalive_s,
                clean_start=True,
                properties=connect_properties(
                    receive_maximum=_MOST_UNREAD, maximum_packet_size=self._largest_packet_bytes
                ),
            )
            if client.socket() is not wire:
                # paho made a connection of its own, without our TLS. Nothing has been written yet.
                raise no_connection("tls", "the MQTT library did not use the connection made for it")
            turn_s = min(1.0, asked.keepalive_s / 10)
            while not self._given_up and client.loop(turn_s) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                if client.unanswered_s() > _PATIENCE * asked.keepalive_s:
                    self._end("keepalive", "something comes in, but the broker answers no ping")
                    break
        finally:
            wire.finish(linger_s=_LINGER_S if self._leaving else 0.0)
            if not self._established:
                client.release()  # else whoever publishes may be using what it closes

    def _client(self, wire: Wire) -> PahoClient:
        asked = self._asked
        self._paho = client = PahoClient(
            client_id=asked.client_id,
            wire=wire,
            on_puback=self._on_puback,
            on_connack=self._on_connack,
            on_server_disconnect=self._on_server_disconnect,
        )
        if asked.username is not None:
            client.username_pw_set(asked.username, self._password())
        will = asked.will
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties_of(will))
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        return client

    def _password(self) -> str | None:
        try:
            return self._asked.read_password()
        except ConfigError as error:
            raise no_connection("refused", error.message) from error

    def _note(self, dialled: socket.socket) -> None:
        self._socket = dialled
        if self._given_up:
            dialled.close()

    def _why(self) -> Closed:
        """What ended the connection, after the fact."""
        asked, credentials = self._asked, self.credentials
        error = self._wire.error if self._wire else None
        if isinstance(error, _HUNG_UP) and credentials is not None and not self._established:
            # TLS 1.3: the broker looks at our certificate only after the handshake, and the alert by which it
            # says what is wrong with it may be lost in the reset that follows.
            self._end("tls", f"{asked.broker} hung up on CONNECT; it may not accept our certificate")
        elif isinstance(error, ssl.SSLError) and credentials is not None and not self._established:
            # Once it has answered CONNECT, what OpenSSL complains of is a connection that was cut off.
            now = rfc3339(self._clock.now().wall_ns)
            detail = explain(error, host=asked.broker.host, files=credentials.files, peer=None, now=now)
            self._end("tls", detail)
        elif error is not None:
            self._end("closed", f"connection lost: {error.strerror or error}")
        elif not self._established and credentials is not None:
            self._end("closed", f"{asked.broker} hung up on CONNECT; it may not accept our certificate")
        else:
            self._end("closed", "the broker closed the connection without a word")
        return Closed(self._cause or "closed", self._detail)

    # What follows is called by paho, in this thread.

    def _on_connack(self, reason: int, given: dict[str, Any]) -> None:
        asked, client = self._asked, self._paho
        if client is None:
            raise RuntimeError("an answer came before there was a client")
        lacks = what_is_lacking(given)
        if reason or lacks:
            cause, why = of_connack(reason, given) if reason else ("refused", str(lacks))
            self._end(cause, f"{asked.broker} refused the connection: {why}")
            if lacks:
                client.disconnect()
            return
        if (assigned := given.get("AssignedClientIdentifier")) is not None:
            log.warning("link.client_id_assigned", asked=asked.client_id, assigned=assigned)
        server_s = given.get("ServerKeepAlive")
        # A server that wants no keepalive may still be pinged (MQTT 5.0, 3.1.2.10), and any of them earlier.
        client.beat(min(asked.keepalive_s, server_s or asked.keepalive_s))
        limits = Limits(
            receive_maximum=given.get("ReceiveMaximum", 65_535),
            maximum_packet_size=given.get("MaximumPacketSize"),
            server_keep_alive_s=server_s,
            wildcard_subscriptions=bool(given.get("WildcardSubscriptionAvailable", 1)),
        )
        self._established = True
        self._post(Established(client, limits))

    def _on_server_disconnect(self, reason: int, given: dict[str, Any]) -> None:
        cause, why = of_disconnect(reason, given)
        self._end(cause, f"the broker ended the session: {why}")

    def _on_message(self, client: Client, _userdata: object, message: MQTTMessage) -> None:
        unread = self._arrived - self.read
        if unread >= _MOST_UNREAD and message.qos == 0:
            self.dropped += 1
            return
        if unread >= _FAR_TOO_MANY:
            self._end("closed", f"the broker sent {unread} messages without waiting for an answer")
            client.disconnect()
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        given = values_of(message.properties)
        inbound = Inbound(
            topic=topic,
            payload=bytes(message.payload),
            retained=message.retain,
            expiry_s=given.get("MessageExpiryInterval"),
            properties=dict(given.get("UserProperty", ())),
        )
        self._arrived += 1
        self._post(Arrived(inbound, message.mid, message.qos))

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties,
    ) -> None:
        self._post(Subscribed(mid, tuple(reason.value for reason in reasons)))

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not flags.is_disconnect_packet_from_server and reason.value == _KEEP_ALIVE_TIMEOUT:
            self._end("keepalive", "the broker gave no sign of life in time")

    def _on_puback(self, mid: int, reason: int) -> None:
        self._post(Ack(mid, reason, self._clock.now().monotonic_ns))

    def _end(self, cause: Cause, detail: str) -> None:
        """Note why; what is known first is nearest to the truth."""
        if self._cause is None:
            self._cause = cause
            self._detail = detail


_KEEP_ALIVE_TIMEOUT = 0x8D
_HUNG_UP = (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)
