"""What goes into packets: properties, encoded once instead of per message, and how large a packet gets."""

from functools import lru_cache
from typing import Any

from paho.mqtt.properties import Properties

from agent.ports import Publication

# Source: MQTT 5.0, 2.2.2.2, Property identifiers.
_PAYLOAD_FORMAT = 0x01
_MESSAGE_EXPIRY = 0x02
_CONTENT_TYPE = 0x03
_SESSION_EXPIRY = 0x11
_RECEIVE_MAXIMUM = 0x21
_USER_PROPERTY = 0x26
_MAXIMUM_PACKET_SIZE = 0x27

_MOST_EXPIRY_S = 0xFFFF_FFFF


class PackedProperties(Properties):
    """Properties whose bytes are known already: all that paho asks of them while it sends is `pack`.

    paho's own class builds two dictionaries of thirty entries for each message.
    """

    def __init__(self, packed: bytes) -> None:
        object.__setattr__(self, "_packed", packed)

    def pack(self) -> bytes:
        """The properties' length, then the properties."""
        packed: bytes = object.__getattribute__(self, "_packed")
        return packed


def properties_of(publication: Publication) -> PackedProperties:
    """Payload format, content type, message expiry, and the user properties after `v`."""
    constant = _constant_part(publication.content_type, tuple(publication.properties.items()))
    if publication.expiry_s is None:
        body = constant
    else:
        expiry_s = min(max(publication.expiry_s, 0), _MOST_EXPIRY_S)
        body = constant + bytes([_MESSAGE_EXPIRY]) + expiry_s.to_bytes(4, "big")
    return PackedProperties(variable_length(len(body)) + body)


def connect_properties(*, receive_maximum: int, maximum_packet_size: int) -> PackedProperties:
    """For CONNECT: the session ends with its connection, and what we take at most."""
    body = bytes([_SESSION_EXPIRY]) + bytes(4)
    body += bytes([_RECEIVE_MAXIMUM]) + receive_maximum.to_bytes(2, "big")
    body += bytes([_MAXIMUM_PACKET_SIZE]) + maximum_packet_size.to_bytes(4, "big")
    return PackedProperties(variable_length(len(body)) + body)


def values_of(properties: Properties | None) -> dict[str, Any]:
    """What came with a packet, by paho's names of properties."""
    return vars(properties) if properties is not None else {}


def packet_size(publication: Publication, properties: PackedProperties) -> int:
    """Bytes of the whole PUBLISH packet. Source: MQTT 5.0, 3.3."""
    remaining = 2 + len(publication.topic.encode()) + len(properties.pack()) + len(publication.payload)
    remaining += 2 if publication.qos else 0
    return 1 + len(variable_length(remaining)) + remaining


def variable_length(number: int) -> bytes:
    """A Variable Byte Integer. Source: MQTT 5.0, 1.5.5.

    >>> variable_length(127).hex(), variable_length(128).hex()
    ('7f', '8001')
    """
    digits = bytearray()
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | 0x80 if number else digit)
        if not number:
            return bytes(digits)


@lru_cache(maxsize=256)
def _constant_part(content_type: str, properties: tuple[tuple[str, str], ...]) -> bytes:
    is_text = content_type.startswith(("application/json", "text/"))
    part = bytes([_PAYLOAD_FORMAT, int(is_text), _CONTENT_TYPE]) + _string(content_type)
    for name, value in (("v", "1"), *properties):
        part += bytes([_USER_PROPERTY]) + _string(name) + _string(value)
    return part


def _string(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
