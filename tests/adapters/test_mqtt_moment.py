"""TLS for a node that does not know what time it is."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.mqtt.credentials import read_credentials
from agent.adapters.mqtt.dial import Broker, dial
from agent.adapters.system.clock import SystemClock
from agent.domain.errors import TransientError
from agent.ports import Publication
from tests.brokers import HOST, Authority, Identity
from tests.polling import until_blocking

NOW_S = datetime.now(tz=UTC).timestamp()
YEAR_S = 365 * 86_400.0
WILL = Publication("edge/v1/plant/nano-42/state", b"offline", retain=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


class Server:
    """Ends TLS and keeps what is said after the handshake."""

    def __init__(self, identity: Identity) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.certificate, identity.key)
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        self.said = b""
        self.handshakes = 0

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self.listener.accept()
                connection.settimeout(5)
                with connection, suppress(OSError), self.context.wrap_socket(connection, True) as secured:
                    self.handshakes += 1
                    while data := secured.recv(1_000):
                        self.said += data


@contextmanager
def serving(identity: Identity) -> Iterator[Server]:
    server = Server(identity)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    thread.join(10)


def shake_hands(server: Server, node: Identity, floor_s: float | None) -> None:
    files = TlsFiles(ca=node.ca, certificate=node.certificate, key=node.key)
    dial(
        Broker(host=HOST, port=server.port),
        read_credentials(files),
        floor=lambda: floor_s,
        timeout_s=5,
        on_socket=lambda _socket: None,
    ).close()


def until(days: float) -> datetime:
    return datetime.now(tz=UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    "floor_s", [NOW_S, NOW_S - YEAR_S, NOW_S + YEAR_S], ids=["now", "a year ago", "in a year"]
)
def test_what_is_valid_at_the_floor_is_accepted(authority: Authority, floor_s: float) -> None:
    with serving(authority.issue("broker", HOST)) as server:
        shake_hands(server, authority.issue("nano-42"), floor_s)
        until_blocking(lambda: server.handshakes == 1)


def test_what_ended_before_the_floor_is_refused(authority: Authority) -> None:
    with serving(authority.issue("broker", HOST, not_after=until(1))) as server:
        node = authority.issue("nano-42")
        shake_hands(server, node, NOW_S)
        with pytest.raises(TransientError, match=r"is expired since .*clock is not set") as raised:
            shake_hands(server, node, NOW_S + 2 * 86_400)
    assert raised.value.path == "tls"


def test_what_ended_meanwhile_is_refused_only_by_who_knows_the_time(authority: Authority) -> None:
    """The limit of what a floor can do: nobody without a clock can know."""
    with serving(authority.issue("broker", HOST, not_after=until(-1))) as server:
        node = authority.issue("nano-42")
        shake_hands(server, node, NOW_S - 30 * 86_400)
        with pytest.raises(TransientError, match="is expired since"):
            shake_hands(server, node, None)


async def refusal_of(node: Identity, server: Server) -> TransientError:
    files = TlsFiles(ca=node.ca, certificate=node.certificate, key=node.key)
    link = MqttLink(
        host=HOST,
        port=server.port,
        client_id="nano-42",
        clock=SystemClock(),
        tls=files,
        floor=lambda: NOW_S,
    )
    with pytest.raises(TransientError) as raised:
        await link.connect(will=WILL, keepalive_s=20)
    return raised.value


@pytest.mark.parametrize("wrong", ["host", "authority", "date"])
async def test_without_a_clock_everything_else_is_verified_and_nothing_is_said(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    node = authority.issue("nano-42")
    match wrong:
        case "host":
            identity, told = authority.issue("broker", "elsewhere.example"), "host name mismatch"
        case "authority":
            identity, told = Authority(tmp_path / "elsewhere").issue("broker", HOST), "wrong CA"
        case _:
            identity, told = authority.issue("broker", HOST, not_after=until(-1)), "is expired since"
    with serving(identity) as server:
        error = await refusal_of(node, server)
    assert error.path == "tls"
    assert told in error.message
    assert server.said == b""
