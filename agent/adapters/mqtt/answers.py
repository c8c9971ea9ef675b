"""Properties of what a broker answers: CONNACK and DISCONNECT."""

from typing import Any, Final

_PAIR: Final = -1
_STRING: Final = -2

# Source: MQTT 5.0, 2.2.2.2 (table 2-4), as far as these two packets may carry them. Binary data has the form
# of a string.
_PROPERTIES: Final = {
    0x11: ("SessionExpiryInterval", 4),
    0x12: ("AssignedClientIdentifier", _STRING),
    0x13: ("ServerKeepAlive", 2),
    0x15: ("AuthenticationMethod", _STRING),
    0x16: ("AuthenticationData", _STRING),
    0x1A: ("ResponseInformation", _STRING),
    0x1C: ("ServerReference", _STRING),
    0x1F: ("ReasonString", _STRING),
    0x21: ("ReceiveMaximum", 2),
    0x22: ("TopicAliasMaximum", 2),
    0x24: ("MaximumQoS", 1),
    0x25: ("RetainAvailable", 1),
    0x26: ("UserProperty", _PAIR),
    0x27: ("MaximumPacketSize", 4),
    0x28: ("WildcardSubscriptionAvailable", 1),
    0x29: ("SubscriptionIdentifierAvailable", 1),
    0x2A: ("SharedSubscriptionAvailable", 1),
}


def properties_in(data: bytes | bytearray) -> dict[str, Any] | None:
    """What `data` says, a length and then properties; None if it cannot be read. No user properties.

    paho takes a Maximum Packet Size above 268,435,455, which HiveMQ sends, for malformed.

    >>> properties_in(bytes.fromhex("0813000f2710000004"))
    {'ServerKeepAlive': 15, 'MaximumPacketSize': 268435460}
    """
    if not data:
        return {}
    try:
        return _read(bytes(data))
    except (IndexError, KeyError, UnicodeDecodeError):
        return None


def _read(data: bytes) -> dict[str, Any]:
    length, at = _variable(data)
    end = at + length
    if end > len(data):
        raise IndexError("it ends within its properties")
    found: dict[str, Any] = {}
    while at < end:
        name, size = _PROPERTIES[data[at]]
        at += 1
        if size > 0:
            found[name] = int.from_bytes(_piece(data, at, at + size, end), "big")
            at += size
            continue
        text = b""
        for _ in range(2 if size == _PAIR else 1):
            after = at + 2 + int.from_bytes(_piece(data, at, at + 2, end), "big")
            text = _piece(data, at + 2, after, end)
            at = after
        if size == _STRING:
            found[name] = text.decode(errors="replace")
    return found


def _piece(data: bytes, begin: int, after: int, end: int) -> bytes:
    if after > end:
        raise IndexError("it ends within a property")
    return data[begin:after]


def _variable(data: bytes) -> tuple[int, int]:
    """A Variable Byte Integer, and where it ends. Source: MQTT 5.0, 1.5.5."""
    number = 0
    for place in range(4):
        number |= (data[place] & 0x7F) << (7 * place)
        if not data[place] & 0x80:
            return number, place + 1
    raise IndexError("a length of more than four bytes")
