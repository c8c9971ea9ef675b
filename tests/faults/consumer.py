"""A consumer that sees everything from the broker itself, and comes back by itself when the broker does."""

from __future__ import annotations

import json
import ssl
import threading
import time
from typing import Any, Final, NamedTuple, Protocol, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers import HOST, OPERATOR, Authority

_SESSION_S: Final = 3600
_TIMEOUT_S: Final = 20.0


class Broker(Protocol):
    """What is needed of one, mosquitto or another."""

    port: int
    authority: Authority

    def start(self) -> object: ...

    def kill(self) -> None: ...


class Received(NamedTuple):
    """One message; `stream` is the topic below the node's base, `at_s` the Unix time at which it came."""

    node: str
    stream: str
    retained: bool
    replay: bool
    at_s: float
    content: dict[str, Any]


class Consumer:
    """Subscribes to everything with a session of an hour, so that a broker which keeps sessions sends later
    what came while it was not connected. mosquitto_sub does not serve here: it ends when TLS breaks.
    """

    def __init__(self, broker: Broker) -> None:
        identity = broker.authority.issue(OPERATOR)
        context = ssl.create_default_context(cafile=identity.ca)
        context.load_cert_chain(identity.certificate, identity.key)
        self._port = broker.port
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=OPERATOR, protocol=paho.MQTTv5)
        self._client.tls_set_context(context)
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._listening = threading.Event()
        self._received: list[Received] = []

    def open(self) -> None:
        """Connect; returns when nothing can be missed any more. Blocking."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S
        self._client.connect(HOST, self._port, keepalive=10, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._listening.wait(_TIMEOUT_S), "the broker took no subscription"

    def close(self) -> None:
        """Leave, if it was opened. Blocking."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Say something, at QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    @property
    def count(self) -> int:
        return len(self._received)

    def messages(self, since: int = 0) -> list[Received]:
        """What has arrived so far, in order of arrival; `since`: without so many at the beginning."""
        return self._received[since:]

    def of(self, stream: str) -> list[dict[str, Any]]:
        """The contents of one stream or topic."""
        return [message.content for message in self.messages() if message.stream == stream]

    def _on_connect(self, client: paho.Client, *_about: object) -> None:
        client.subscribe("edge/#", qos=1)

    def _on_subscribe(self, *_about: object) -> None:
        self._listening.set()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        _edge, _version, _site, node, stream = message.topic.split("/", 4)
        user = dict(getattr(message.properties, "UserProperty", []))
        content = json.loads(message.payload) if message.payload else {}
        self._received.append(
            Received(node, stream, message.retain, user.get("replay") == "1", time.time(), content)
        )
