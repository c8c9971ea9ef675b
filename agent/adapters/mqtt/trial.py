"""Certificates tried on a connection of their own, on which no MQTT is spoken."""

import select
import ssl
import time
from typing import Final

from agent.adapters.mqtt.causes import no_connection
from agent.adapters.mqtt.credentials import Credentials
from agent.adapters.mqtt.dial import Broker, Floor, dial
from agent.adapters.mqtt.tls import explain

_VERDICT_S: Final = 2.0


def try_credentials(
    broker: Broker, credentials: Credentials, *, floor: Floor, timeout_s: float, verdict_s: float = _VERDICT_S
) -> None:
    """Shake hands, wait for the broker's word on our certificate, and hang up. Blocking.

    In TLS 1.3 the client has finished before the broker has looked at its certificate. Then comes an alert or
    the end of the connection; or a session ticket, which is sent to an accepted client only; or nothing,
    from brokers that give no tickets: `verdict_s` without an alert count as yes. There is no CONNECT, for the
    same client id would take over our own session.
    Source: RFC 8446, 2 (figure 1), 4.6.1 and 6.2.

    Raises:
        TransientError: with its cause: tls, or what kept us from trying (dns, tcp, timeout).
    """
    secured = dial(broker, credentials, floor=floor, timeout_s=timeout_s, on_socket=lambda _socket: None)
    if not isinstance(secured, ssl.SSLSocket):
        raise TypeError("credentials were given, and the connection is none with TLS")
    with secured:
        if secured.version() != "TLSv1.3":
            return  # the handshake was the verdict
        try:
            _await_verdict(secured, broker, deadline=time.monotonic() + verdict_s)
        except ssl.SSLError as error:
            detail = explain(error, host=broker.host, files=credentials.files, peer=None, now="")
            raise no_connection("tls", detail) from error
        except OSError as error:
            raise no_connection("tls", _hung_up(broker, credentials)) from error


def _await_verdict(secured: ssl.SSLSocket, broker: Broker, *, deadline: float) -> None:
    secured.setblocking(False)
    while (left_s := deadline - time.monotonic()) > 0:
        select.select([secured], [], [], left_s)
        try:
            if not secured.recv(1):
                raise ConnectionResetError(f"{broker} hung up")
        except ssl.SSLWantReadError:
            # Tickets are no data: they are read and leave their mark on the session.
            if secured.session is not None and secured.session.has_ticket:
                return


def _hung_up(broker: Broker, credentials: Credentials) -> str:
    ours = credentials.files.certificate
    shown = f"was shown {ours}" if ours else "was shown no certificate"
    return f"{broker} hung up once it {shown}"
