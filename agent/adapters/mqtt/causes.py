"""Why there is no connection: a short class of causes, and the errors that carry it."""

from typing import Final, Literal

from agent.domain.errors import Code, TransientError

Cause = Literal[
    "dns",
    "tcp",
    "tls",
    "refused",
    "timeout",
    "keepalive",
    "taken-over",
    "server-shutdown",
    "closed",
]
"""dns: the name has no address; tcp: nobody listens or no way there; tls: a certificate is not accepted, by
us or by the broker; refused: the broker says no; timeout: no answer in time while connecting; keepalive:
no answer while connected; taken-over: another client came with our name; server-shutdown: the broker goes;
closed: anything else that ends a connection."""

_CODES: Final[dict[Cause, Code]] = {
    "tls": Code.TLS,
    "refused": Code.REFUSED,
    "taken-over": Code.REFUSED,
    "timeout": Code.TIMEOUT,
}

# Source: MQTT 5.0, 3.14.2.1, Disconnect Reason Code values.
_BY_DISCONNECT: Final[dict[int, Cause]] = {
    0x87: "refused",
    0x89: "server-shutdown",
    0x8B: "server-shutdown",
    0x8D: "keepalive",
    0x8E: "taken-over",
    0x98: "server-shutdown",
    0x9C: "server-shutdown",
    0x9D: "server-shutdown",
}


def cause_of_disconnect(reason: int) -> Cause:
    """The class of a DISCONNECT's reason code.

    >>> cause_of_disconnect(0x8E), cause_of_disconnect(0x82)
    ('taken-over', 'closed')
    """
    return _BY_DISCONNECT.get(reason, "closed")


def no_connection(cause: Cause, detail: str) -> TransientError:
    """The error for `cause`, which its `path` carries."""
    return TransientError(detail, code=_CODES.get(cause, Code.NETWORK), path=cause)
