"""A broker of a few lines, over a real socket, that answers what a test tells it to: also what is wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests import mqtt_packets as mqtt
from tests.brokers import HOST

_TIMEOUT_S: Final = 10.0


class ScriptedBroker:
    """Plain MQTT 5 on a free loopback port, one connection at a time.

    `on_connect` and `on_publish` give the bytes to send back; None: nothing. What comes in is in `received`,
    in order; `send` says something unasked. `silent` stops all answers while the connection stays.
    """

    def __init__(self) -> None:
        self.on_connect: Callable[[mqtt.Packet], bytes | None] = lambda _packet: mqtt.connack()
        self.on_publish: Callable[[mqtt.Publish], bytes | None] = lambda sent: mqtt.puback(sent.mid)
        self.on_subscribe: Callable[[int, int], bytes] = lambda mid, count: mqtt.suback(mid, *[1] * count)
        self.silent = False
        self.received: list[mqtt.Packet] = []
        self.connections = 0
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="scripted-broker", daemon=True)

    @property
    def published(self) -> list[mqtt.Publish]:
        return [mqtt.read_publish(p) for p in self.received if p.kind == mqtt.PUBLISH]

    @property
    def pubacks(self) -> list[mqtt.Puback]:
        return [mqtt.read_puback(p) for p in self.received if p.kind == mqtt.PUBACK]

    def count(self, kind: int) -> int:
        return sum(packet.kind == kind for packet in self.received)

    def send(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(data)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(timeout=_TIMEOUT_S)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection:
                self._connection = connection
                self.connections += 1
                with contextlib.suppress(OSError):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        reader = mqtt.PacketReader()
        while data := connection.recv(65_536):
            for packet in reader.feed(data):
                self.received.append(packet)
                answer = None if self.silent else self._answer(packet)
                if answer is not None:
                    connection.sendall(answer)

    def _answer(self, packet: mqtt.Packet) -> bytes | None:
        match packet.kind:
            case mqtt.CONNECT:
                return self.on_connect(packet)
            case mqtt.PUBLISH:
                sent = mqtt.read_publish(packet)
                return self.on_publish(sent) if sent.qos else None
            case mqtt.SUBSCRIBE:
                mid = int.from_bytes(packet.body[:2], "big")
                return self.on_subscribe(mid, _count_topics(packet))
            case mqtt.PINGREQ:
                return mqtt.packet(mqtt.PINGRESP, b"")
        return None


def _count_topics(packet: mqtt.Packet) -> int:
    _properties, rest = mqtt.read_properties(packet.body[2:])
    count = 0
    while rest:
        rest = rest[2 + int.from_bytes(rest[:2], "big") + 1 :]
        count += 1
    return count
