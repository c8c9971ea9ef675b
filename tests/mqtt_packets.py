"""MQTT 5 packets, read and made by hand: for a proxy that records them and a broker that misbehaves.

Written apart from the agent's own code, so that a mistake there is not repeated here.
Source: OASIS, MQTT Version 5.0 (2019), chapters 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

_LENGTHS: Final = {0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4}
_LENGTHS_MORE: Final = {0x17: 1, 0x18: 4, 0x19: 1, 0x23: 2, 0x28: 1, 0x29: 1, 0x2A: 1}
_STRINGS: Final = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})
_USER_PROPERTY: Final = 0x26


@dataclass(frozen=True, slots=True)
class Packet:
    """A control packet: kind and flags of its first byte, and what follows the length."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Properties:
    """Values by property identifier; user properties apart."""

    values: dict[int, int | bytes] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH; `mid` is 0 at QoS 0."""

    topic: str
    mid: int
    qos: int
    retain: bool
    dup: bool
    properties: Properties
    payload: bytes


@dataclass(frozen=True, slots=True)
class Puback:
    mid: int
    reason: int


class PacketReader:
    """Packets out of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        self._buffer += data
        packets = []
        while (packet := self._next()) is not None:
            packets.append(packet)
        return packets

    def _next(self) -> Packet | None:
        length, shift, at = 0, 0, 1
        while True:
            if at >= len(self._buffer):
                return None
            byte = self._buffer[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80:
                break
        if len(self._buffer) < at + length:
            return None
        first, body = self._buffer[0], bytes(self._buffer[at : at + length])
        del self._buffer[: at + length]
        return Packet(first >> 4, first & 0x0F, body)


def read_publish(packet: Packet) -> Publish:
    qos = packet.flags >> 1 & 3
    topic, rest = _take_string(packet.body)
    mid = 0
    if qos:
        mid, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    properties, payload = read_properties(rest)
    return Publish(
        topic.decode(), mid, qos, bool(packet.flags & 1), bool(packet.flags & 8), properties, payload
    )


def read_puback(packet: Packet) -> Puback:
    return Puback(int.from_bytes(packet.body[:2], "big"), packet.body[2] if len(packet.body) > 2 else 0)


def read_properties(data: bytes) -> tuple[Properties, bytes]:
    """The properties at the head of `data`, and what follows them."""
    length, data = _take_variable(data)
    block, rest = data[:length], data[length:]
    found = Properties()
    while block:
        identifier, block = block[0], block[1:]
        if identifier == _USER_PROPERTY:
            name, block = _take_string(block)
            value, block = _take_string(block)
            found.user[name.decode()] = value.decode()
        elif identifier in _STRINGS:
            found.values[identifier], block = _take_string(block)
        else:
            size = (_LENGTHS | _LENGTHS_MORE)[identifier]
            found.values[identifier], block = int.from_bytes(block[:size], "big"), block[size:]
    return found, rest


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags]) + variable(len(body)) + body


def connack(reason: int = 0, properties: bytes = b"") -> bytes:
    return packet(CONNACK, bytes([0, reason]) + variable(len(properties)) + properties)


def puback(mid: int, reason: int = 0, properties: bytes | None = None) -> bytes:
    """As brokers send it: success without a reason code, other reasons with or without properties."""
    body = mid.to_bytes(2, "big")
    if reason or properties is not None:
        body += bytes([reason])
    if properties is not None:
        body += variable(len(properties)) + properties
    return packet(PUBACK, body)


def suback(mid: int, *reasons: int) -> bytes:
    return packet(SUBACK, mid.to_bytes(2, "big") + b"\0" + bytes(reasons))


def disconnect(reason: int | None = None, properties: bytes | None = None) -> bytes:
    """Without properties unless they are given, as mosquitto sends it."""
    body = b"" if reason is None else bytes([reason])
    if properties is not None:
        body += variable(len(properties)) + properties
    return packet(DISCONNECT, body)


def publish(topic: str, payload: bytes, *, qos: int = 0, mid: int = 0, retain: bool = False) -> bytes:
    body = string(topic) + (mid.to_bytes(2, "big") if qos else b"") + b"\0" + payload
    return packet(PUBLISH, body, qos << 1 | retain)


def receive_maximum(count: int) -> bytes:
    """A property of CONNACK."""
    return b"\x21" + count.to_bytes(2, "big")


def maximum_packet_size(size: int) -> bytes:
    return b"\x27" + size.to_bytes(4, "big")


def server_keep_alive(seconds: int) -> bytes:
    return b"\x13" + seconds.to_bytes(2, "big")


def string(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def variable(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    return bytes([number % 128 | 0x80]) + variable(number // 128)


def _take_string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:2], "big")
    return data[2 : 2 + length], data[2 + length :]


def _take_variable(data: bytes) -> tuple[int, bytes]:
    number, shift = 0, 0
    for at, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, data[at + 1 :]
    raise ValueError("a variable length without an end")
