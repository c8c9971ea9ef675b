"""Why there is no connection: a short class of causes, and the errors that carry it."""

from typing import Final, Literal

from agent.domain.errors import Code, TransientError

Cause = Literal[
    "dns",
    "tcp",
    "tls",
    "refused",
    "busy",
    "timeout",
    "keepalive",
    "taken-over",
    "server-shutdown",
    "closed",
]
"""dns: the name has no address; tcp: nobody listens or no way there; tls: a certificate is not accepted, by
us or by the broker; refused: the broker says no; busy: it says not now; timeout: no answer in time while
connecting; keepalive: no answer while connected; taken-over: another client came with our name;
server-shutdown: the broker goes; closed: anything else that ends a connection."""

_CODES: Final[dict[Cause, Code]] = {
    "tls": Code.TLS,
    "refused": Code.REFUSED,
    "busy": Code.REFUSED,
    "taken-over": Code.REFUSED,
    "timeout": Code.TIMEOUT,
}


def no_connection(cause: Cause, detail: str) -> TransientError:
    """The error for `cause`, which its `path` carries."""
    return TransientError(detail, code=_CODES.get(cause, Code.NETWORK), path=cause)
