"""Getting a connected socket, step by step, so that each failure knows its cause. Blocking: for a thread."""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.adapters.mqtt.causes import no_connection
from agent.adapters.mqtt.credentials import Credentials
from agent.adapters.mqtt.moment import check_dates
from agent.adapters.mqtt.tls import explain
from agent.domain.errors import TransientError
from agent.domain.stamp import utc_text

_LEAST_S = 0.1

Floor = Callable[[], float | None]
"""Seconds since 1970 to judge dates by instead of the clock, where that is known to be wrong; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def dial(
    broker: Broker,
    credentials: Credentials | None,
    *,
    floor: Floor,
    timeout_s: float,
    on_socket: Callable[[socket.socket], None],
) -> socket.socket:
    """A socket on which MQTT can begin: connected, and with TLS unless `credentials` is None.

    `on_socket` gets to know each socket as soon as there is one, so that somebody else can end the wait.

    Raises:
        TransientError: with its cause: dns, tcp, tls or timeout.
    """
    deadline = time.monotonic() + timeout_s
    connected = _connect(broker, deadline, on_socket)
    if credentials is None:
        return connected
    floor_s = floor()
    context = credentials.context(judges_dates=floor_s is None)
    try:
        secured = _shake_hands(connected, context, broker.host, deadline, on_socket)
    except ssl.SSLError as error:
        raise no_connection("tls", _explain(error, broker, credentials, deadline)) from error
    except TimeoutError as error:
        raise no_connection("timeout", f"{broker} did not finish the TLS handshake in time") from error
    except OSError as error:
        detail = f"{broker} broke off the TLS handshake: {error.strerror or error}"
        raise no_connection("tls", detail) from error
    if floor_s is not None:
        try:
            check_dates(secured, floor_s=floor_s, host=broker.host)
        except TransientError:
            secured.close()
            raise
    return secured


def _connect(broker: Broker, deadline: float, on_socket: Callable[[socket.socket], None]) -> socket.socket:
    try:
        found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise no_connection("dns", f"{broker.host} has no address: {reason}") from error
    last: OSError | None = None
    for family, kind, protocol, _name, address in found:
        attempt = socket.socket(family, kind, protocol)
        on_socket(attempt)
        try:
            attempt.settimeout(_left_s(deadline))
            attempt.connect(address)
            # Our messages are small and complete; waiting to fill a segment only delays them.
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            attempt.close()
            last = error
        else:
            return attempt
    if isinstance(last, TimeoutError):
        raise no_connection("timeout", f"{broker} does not answer") from last
    reason = (last.strerror or str(last)) if last else "no address to try"
    raise no_connection("tcp", f"no connection to {broker}: {reason}") from last


def _shake_hands(
    connected: socket.socket,
    context: ssl.SSLContext,
    host: str,
    deadline: float,
    on_socket: Callable[[socket.socket], None],
) -> ssl.SSLSocket:
    secured = context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
    on_socket(secured)
    try:
        secured.settimeout(_left_s(deadline))
        secured.do_handshake()
    except OSError:
        secured.close()
        raise
    return secured


def _explain(error: ssl.SSLError, broker: Broker, credentials: Credentials, deadline: float) -> str:
    peer = None
    if isinstance(error, ssl.SSLCertVerificationError):
        peer = _look_at_certificate(broker, credentials, deadline)
    now = utc_text(time.time())
    return explain(error, host=broker.host, files=credentials.files, peer=peer, now=now)


def _look_at_certificate(
    broker: Broker, credentials: Credentials, deadline: float
) -> Mapping[str, Any] | None:
    """What the broker's certificate says, over a second connection that ends after its handshake."""
    try:
        with (
            socket.create_connection((broker.host, broker.port), timeout=_left_s(deadline)) as connected,
            credentials.lenient_context().wrap_socket(connected) as secured,
        ):
            return secured.getpeercert()
    except OSError:
        return None  # then the sentence does without


def _left_s(deadline: float) -> float:
    return max(_LEAST_S, deadline - time.monotonic())
