"""Certificates that are not as they should be: nothing is said to a stranger, and the reason is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.mqtt.credentials import read_credentials
from agent.adapters.system.clock import SystemClock
from agent.domain.errors import Code, ConfigError, TransientError
from agent.ports import Publication
from tests import mqtt_packets as mqtt
from tests.brokers import HOST, Authority, Identity, Mosquitto, free_port

WILL = Publication("edge/v1/plant/nano-42/state", b"offline", retain=True)
CLOCK = SystemClock()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def node(authority: Authority) -> Identity:
    return authority.issue("nano-42")


class Impostor:
    """A TLS server that counts what a client says after the handshake."""

    def __init__(self, identity: Identity) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.certificate, identity.key)
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        self.connections = 0
        self.said = b""

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(5)
            with connection, suppress(OSError), self.context.wrap_socket(connection, True) as secured:
                while data := secured.recv(1_000):
                    self.said += data


@contextmanager
def impostor_with(identity: Identity) -> Iterator[Impostor]:
    impostor = Impostor(identity)
    thread = threading.Thread(target=impostor.serve, daemon=True)
    thread.start()
    yield impostor
    impostor.listener.shutdown(socket.SHUT_RDWR)
    impostor.listener.close()
    thread.join(10)
    assert not thread.is_alive()


def files_of(identity: Identity) -> TlsFiles:
    return TlsFiles(ca=identity.ca, certificate=identity.certificate, key=identity.key)


def link_of(files: TlsFiles, port: int, host: str = HOST) -> MqttLink:
    return MqttLink(host=host, port=port, client_id="nano-42", clock=CLOCK, tls=files)


async def refusal_of(link: MqttLink) -> TransientError:
    with pytest.raises(TransientError) as raised:
        await link.connect(will=WILL, keepalive_s=20)
    return raised.value


# --- the broker's certificate -----------------------------------------------------------------------


async def test_an_expired_certificate_is_refused_and_its_date_told(
    authority: Authority, node: Identity
) -> None:
    yesterday = datetime.now(tz=UTC) - timedelta(days=1)
    with impostor_with(authority.issue("broker", HOST, not_after=yesterday)) as impostor:
        error = await refusal_of(link_of(files_of(node), impostor.port))
        assert impostor.connections > 0
    assert (error.path, error.code) == ("tls", Code.TLS)
    # OpenSSL pads the day with a blank.
    since = f"{yesterday:%b} {yesterday.day:>2} {yesterday:%H:%M:%S %Y} GMT"
    assert f"the certificate of {HOST} is expired since {since}" in error.message
    assert f"this node's clock says {datetime.now(tz=UTC):%Y-%m-%d}" in error.message
    assert impostor.said == b""


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path, node: Identity) -> None:
    elsewhere = Authority(tmp_path / "elsewhere")
    with impostor_with(elsewhere.issue("broker", HOST)) as impostor:
        error = await refusal_of(link_of(files_of(node), impostor.port))
    assert error.path == "tls"
    assert error.message == f"wrong CA: the certificate of {HOST} was not issued by one in {node.ca}"
    assert impostor.said == b""


async def test_a_certificate_for_another_host_is_refused_and_its_names_told(
    authority: Authority, node: Identity
) -> None:
    with impostor_with(authority.issue("broker", "broker.example", "backup.example")) as impostor:
        error = await refusal_of(link_of(files_of(node), impostor.port))
        assert impostor.connections > 0
    assert error.path == "tls"
    assert error.message == (
        f"host name mismatch: the certificate of {HOST} is for broker.example, backup.example"
    )
    assert impostor.said == b""


async def test_the_systems_authorities_do_not_know_ours(authority: Authority) -> None:
    with impostor_with(authority.issue("broker", HOST)) as impostor:
        error = await refusal_of(link_of(TlsFiles(), impostor.port))
    assert "was not issued by one in the system's trusted authorities" in error.message
    assert impostor.said == b""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        (mqtt.connack(0x84), "does not speak TLS"),
        (b"", "may speak plain text"),
    ],
    ids=["http", "mqtt", "hangs up"],
)
async def test_what_does_not_speak_tls_is_told_as_such(node: Identity, answer: bytes, told: str) -> None:
    with socket.create_server((HOST, 0)) as plain:

        def serve() -> None:
            connection, _address = plain.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        error = await refusal_of(link_of(files_of(node), plain.getsockname()[1]))
        thread.join(10)
    assert error.path == "tls"
    assert told in error.message


async def test_a_handshake_that_never_ends_is_given_up(node: Identity) -> None:
    with socket.create_server((HOST, 0)) as mute:
        link = MqttLink(
            host=HOST,
            port=mute.getsockname()[1],
            client_id="nano-42",
            clock=CLOCK,
            tls=files_of(node),
            dial_timeout_s=0.3,
        )
        error = await refusal_of(link)
    assert error.path == "timeout"


async def test_a_handshake_that_comes_byte_by_byte_is_given_up(node: Identity) -> None:
    ended = threading.Event()
    with socket.create_server((HOST, 0)) as slow:

        def trickle() -> None:
            connection, _address = slow.accept()
            # The beginning of a record of 16 KB.
            with connection, suppress(OSError):
                for byte in b"\x16\x03\x03\x40\x00" + bytes(1_000):
                    if ended.wait(0.05):
                        return
                    connection.sendall(bytes([byte]))

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        link = MqttLink(
            host=HOST,
            port=slow.getsockname()[1],
            client_id="nano-42",
            clock=CLOCK,
            tls=files_of(node),
            dial_timeout_s=0.5,
        )
        error = await refusal_of(link)
        ended.set()
        thread.join(10)
    assert error.path == "timeout"


def test_only_verified_tls_of_today_is_spoken(node: Identity) -> None:
    context = read_credentials(files_of(node)).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_looking_at_a_bad_certificate_still_asks_for_the_right_authority(node: Identity) -> None:
    assert read_credentials(files_of(node)).lenient_context().verify_mode == ssl.CERT_REQUIRED


# --- our own certificate ----------------------------------------------------------------------------


@pytest.mark.broker
async def test_a_broker_that_does_not_take_our_certificate_is_told_as_tls(
    authority: Authority, tmp_path: Path
) -> None:
    yesterday = datetime.now(tz=UTC) - timedelta(days=1)
    expired = authority.issue("nano-42", not_after=yesterday)
    stranger = Authority(tmp_path / "elsewhere").issue("nano-42")
    broker = await asyncio.to_thread(lambda: Mosquitto(tmp_path, authority=authority).start())
    try:
        for certificate, key, said in (
            (expired.certificate, expired.key, "certificate expired"),
            (stranger.certificate, stranger.key, "unknown ca"),
        ):
            files = TlsFiles(ca=authority.ca, certificate=certificate, key=key)
            error = await refusal_of(link_of(files, broker.port))
            assert error.path == "tls"
            # The broker's alert is lost where its reset comes first; then we know only that it hung up.
            assert error.message in {
                f"the broker did not accept our certificate {certificate} ({said})",
                f"{HOST}:{broker.port} hung up on CONNECT; it may not accept our certificate",
            }
        error = await refusal_of(link_of(TlsFiles(ca=authority.ca), broker.port))
        assert error.path == "tls"
        assert "it may want a client certificate" in error.message or "hung up on CONNECT" in error.message
    finally:
        await asyncio.to_thread(broker.stop)


async def test_a_certificate_that_vanishes_later_does_not_end_the_process(node: Identity) -> None:
    link = link_of(files_of(node), free_port())
    node.key.unlink()
    error = await refusal_of(link)
    # It goes on with what it has in memory, as far as there is a broker.
    assert (error.path, error.code) == ("tcp", Code.NETWORK)


@contextmanager
def mistake(files: TlsFiles) -> Iterator[list[str]]:
    """The sentence of the ConfigError that `files` bring about."""
    sentence: list[str] = []
    with pytest.raises(ConfigError) as raised:
        link_of(files, 8883)
    assert raised.value.code == Code.TLS
    sentence.append(raised.value.message)
    yield sentence


def test_files_that_are_missing_or_unreadable_are_named(node: Identity, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    for files in (
        TlsFiles(ca=missing),
        TlsFiles(ca=node.ca, certificate=missing, key=node.key),
        TlsFiles(ca=node.ca, certificate=node.certificate, key=missing),
    ):
        with mistake(files) as sentence:
            assert sentence == [f"the file {missing} cannot be read: No such file or directory"]
    with mistake(TlsFiles(ca=node.ca, certificate=node.certificate, key=tmp_path)) as sentence:
        assert sentence == [f"the file {tmp_path} cannot be read: Is a directory"]


def test_files_that_hold_something_else_are_named(node: Identity, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    with mistake(TlsFiles(ca=garbage)) as sentence:
        assert sentence == [f"the file {garbage} does not hold a certificate in PEM form"]
    with mistake(TlsFiles(ca=node.ca, certificate=node.certificate, key=garbage)) as sentence:
        assert sentence == [f"the file {garbage} does not hold a private key in PEM form"]
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with mistake(TlsFiles(ca=garbage)) as sentence:
        assert f"the CA file {garbage} cannot be used" in sentence[0]
    with mistake(TlsFiles(ca=node.ca, certificate=garbage, key=node.key)) as sentence:
        assert f"{garbage} and {node.key} cannot be used" in sentence[0]


def test_a_key_of_another_certificate_is_told_as_such(authority: Authority, node: Identity) -> None:
    other = authority.issue("nano-43")
    with mistake(TlsFiles(ca=node.ca, certificate=node.certificate, key=other.key)) as sentence:
        assert sentence == [f"the key {other.key} does not belong to the certificate {node.certificate}"]


def test_an_encrypted_key_is_not_asked_for_at_the_terminal(node: Identity) -> None:
    key = serialization.load_pem_private_key(node.key.read_bytes(), None)
    node.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with mistake(files_of(node)) as sentence:
        assert f"the key {node.key} is encrypted" in sentence[0]


def test_half_an_identity_is_a_mistake(node: Identity) -> None:
    with mistake(TlsFiles(ca=node.ca, certificate=node.certificate)) as sentence:
        assert "go together" in sentence[0]


def test_plain_text_has_to_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="plain text") as raised:
        MqttLink(host=HOST, port=1883, client_id="nano-42", clock=CLOCK, tls=None)
    assert raised.value.code == Code.TLS
