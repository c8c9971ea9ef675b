"""What a broker means by the reason code of a CONNACK or DISCONNECT: its class, and a sentence."""

from collections.abc import Mapping
from typing import Any, Final

from agent.adapters.mqtt.causes import Cause

TAKEN_OVER: Final = 0x8E
_MOST_QUOTED: Final = 200

# Source: MQTT 5.0, 3.2.2.2 (table 3-1), Connect Reason Code values. 0x01 is what older versions say (MQTT
# 3.1.1, 3.2.2.3).
_CONNACK: Final[dict[int, tuple[Cause, str]]] = {
    0x01: ("refused", "it does not speak MQTT 5, without which nothing is known to have arrived"),
    0x80: ("refused", "it does not say why"),
    0x81: ("refused", "it takes our CONNECT for malformed"),
    0x82: ("refused", "it takes our CONNECT for a breach of the protocol"),
    0x83: ("refused", "by a rule of its own"),
    0x84: ("refused", "it does not speak MQTT 5, without which nothing is known to have arrived"),
    0x85: ("refused", "it does not take this node's name as a client id; is `node` what it expects?"),
    0x86: ("refused", "user name or password is wrong; see `username` and `password_file`"),
    0x87: ("refused", "this node is not authorised; is its name, its CN or its user name known there?"),
    0x88: ("busy", "it is not available now"),
    0x89: ("busy", "it is busy"),
    0x8A: ("refused", "this node is banned there"),
    0x8C: ("refused", "it wants another authentication method"),
    0x90: ("refused", "it does not take the topic of our will"),
    0x95: ("refused", "our CONNECT, with its will, is larger than it takes"),
    0x97: ("busy", "a quota is used up"),
    0x99: ("refused", "it takes the payload of our will for wrong"),
    0x9A: ("refused", "it keeps no retained messages, and the node's state would not be known"),
    0x9B: ("refused", "it takes messages at QoS 0 only, and nothing would be acknowledged"),
    0x9C: ("busy", "another server is to be used for now"),
    0x9D: ("refused", "another server is to be used from now on; put its address into `broker.host`"),
    0x9F: ("busy", "there are too many connections in too short a time"),
}

# Source: MQTT 5.0, 3.14.2.1 (table 3-10), Disconnect Reason Code values.
_DISCONNECT: Final[dict[int, tuple[Cause, str]]] = {
    0x00: ("closed", "without a reason"),
    0x81: ("closed", "it takes a packet of ours for malformed"),
    0x82: ("closed", "it takes a packet of ours for a breach of the protocol"),
    0x87: ("refused", "this node is not authorised any more"),
    0x89: ("server-shutdown", "it is busy"),
    0x8B: ("server-shutdown", "it shuts down"),
    0x8D: ("keepalive", "it heard nothing from us in time"),
    TAKEN_OVER: ("taken-over", "another client came with this node's name"),
    0x90: ("closed", "it does not take a topic of ours"),
    0x93: ("closed", "we sent more at once than it takes"),
    0x95: ("closed", "a packet was larger than it takes"),
    0x96: ("busy", "we send too fast for it"),
    0x97: ("busy", "a quota is used up"),
    0x98: ("server-shutdown", "its administrator ended it"),
    0x99: ("closed", "it takes a payload of ours for wrong"),
    0x9A: ("refused", "it keeps no retained messages"),
    0x9B: ("refused", "it takes messages at QoS 0 only"),
    0x9C: ("server-shutdown", "another server is to be used for now"),
    0x9D: ("server-shutdown", "another server is to be used from now on"),
    0x9F: ("busy", "there are too many connections in too short a time"),
    0xA2: ("closed", "it takes no subscriptions with wildcards"),
}


def of_connack(reason: int, given: Mapping[str, Any]) -> tuple[Cause, str]:
    """Why a connection is refused; `given` are the packet's properties.

    >>> of_connack(0x89, {"ReasonString": "come back at noon"})
    ('busy', '0x89, it is busy (it says: come back at noon)')
    """
    cause, why = _CONNACK.get(reason, ("refused", "which no version of MQTT knows"))
    return cause, _sentence(reason, why, given)


def of_disconnect(reason: int, given: Mapping[str, Any]) -> tuple[Cause, str]:
    """Why a session was ended by the broker.

    >>> of_disconnect(0x8E, {})
    ('taken-over', "0x8E, another client came with this node's name")
    """
    cause, why = _DISCONNECT.get(reason, ("closed", "which is not explained further"))
    return cause, _sentence(reason, why, given)


def what_is_lacking(given: Mapping[str, Any]) -> str | None:
    """Why a broker that says yes cannot be used."""
    if given.get("MaximumQoS", 1) < 1:
        return "it takes messages at QoS 0 only, and nothing would be acknowledged"
    if not given.get("RetainAvailable", 1):
        return "it keeps no retained messages, and the node's state would not be known"
    for name, told in (("Receive Maximum", "ReceiveMaximum"), ("Maximum Packet Size", "MaximumPacketSize")):
        if given.get(told) == 0:  # a protocol error: MQTT 5.0, 3.2.2.3.3 and 3.2.2.3.6
            return f"it allows a {name} of 0, with which nothing can be sent"
    return None


def _sentence(reason: int, why: str, given: Mapping[str, Any]) -> str:
    sentence = f"0x{reason:02X}, {why}"
    if server := _quoted(given.get("ServerReference")):
        sentence += f" (it names {server}, which is not followed: settings name the broker)"
    if said := _quoted(given.get("ReasonString")):
        sentence += f" (it says: {said})"
    return sentence


def _quoted(text: object) -> str:
    """What a broker says, fit for a line of a log."""
    return "".join(c for c in str(text or "") if c.isprintable())[:_MOST_QUOTED]
