"""Certificates that are renewed, broken or expired while a node runs, against a real mosquitto."""

from __future__ import annotations

import asyncio
import select
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.mqtt.credentials import read_credentials
from agent.adapters.mqtt.dial import Broker
from agent.adapters.mqtt.expiry import left_s, life_left, warning
from agent.adapters.mqtt.moment import verified_chain
from agent.adapters.mqtt.renewal import CertificateWatch
from agent.adapters.mqtt.trial import try_credentials
from agent.domain.errors import ConfigError, TransientError
from agent.ports import CertificateCheck, Publication
from tests.brokers import HOST, Authority, Identity, Mosquitto, free_port
from tests.fakes.clock import FakeClock
from tests.polling import until_blocking

pytestmark = pytest.mark.broker

WILL = Publication("edge/v1/plant/nano-42/state", b"offline", retain=True)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def node(broker: Mosquitto, tmp_path: Path) -> Identity:
    """A pair in a folder of its own, that a test may spoil."""
    return broker.authority.issue("nano-42").copied_to(tmp_path)


def files_of(identity: Identity) -> TlsFiles:
    return TlsFiles(ca=identity.ca, certificate=identity.certificate, key=identity.key)


def link_of(identity: Identity, port: int, clock: FakeClock | None = None) -> MqttLink:
    files = files_of(identity)
    return MqttLink(host=HOST, port=port, client_id="nano-42", clock=clock or FakeClock(), tls=files)


def watch_of(link: MqttLink) -> CertificateWatch:
    watch = link.watch()
    assert watch is not None
    return watch


def checks(watch: CertificateWatch, *, connected: bool = True, count: int = 2) -> CertificateCheck:
    """The last of so many looks: what is new has to be seen twice."""
    return [watch.check(connected=connected) for _ in range(count)][-1]


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """Shakes hands with one client and says no more; the port."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                connection, _address = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def in_use(link: MqttLink) -> bytes:
    assert link._keyring is not None
    return link._keyring.current.digest


# --- a session runs ---------------------------------------------------------------------------------


def test_files_that_do_not_change_are_no_news(broker: Mosquitto, node: Identity) -> None:
    watch = watch_of(link_of(node, broker.port))
    check = checks(watch, count=5)
    assert (check.trouble, check.is_renewed) == (None, False)


def test_a_renewed_pair_is_tried_and_taken(broker: Mosquitto, node: Identity) -> None:
    link = link_of(node, broker.port)
    watch, before = watch_of(link), in_use(link)
    broker.authority.issue("nano-42").write_over(node)
    connects = broker.log.count("New client connected")
    assert not watch.check(
        connected=True
    ).is_renewed  # a pair is written one by one: wait for the second look
    check = watch.check(connected=True)
    assert check.is_renewed
    assert check.trouble is None
    assert in_use(link) != before
    assert not checks(watch).is_renewed
    # No CONNECT: the same client id would have taken over our own session.
    assert broker.log.count("New client connected") == connects


def test_an_atomic_swap_of_symbolic_links_is_seen(broker: Mosquitto, tmp_path: Path) -> None:
    """As certbot and configuration management do it."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        broker.authority.issue("nano-42").copied_to(tmp_path / version)
    live = tmp_path / "live"
    live.symlink_to(tmp_path / "v1")
    linked = Identity(
        name="nano-42", ca=live / "ca.pem", certificate=live / "node.pem", key=live / "node.key"
    )
    watch = watch_of(link_of(linked, broker.port))
    (tmp_path / "next").symlink_to(tmp_path / "v2")
    (tmp_path / "next").rename(live)
    assert checks(watch).is_renewed


def test_a_pair_whose_second_half_is_late_is_no_trouble(broker: Mosquitto, node: Identity) -> None:
    watch = watch_of(link_of(node, broker.port))
    renewed = broker.authority.issue("nano-42")
    shutil.copy(renewed.certificate, node.certificate)
    assert watch.check(connected=True).trouble is None
    shutil.copy(renewed.key, node.key)
    assert watch.check(connected=True).trouble is None
    assert watch.check(connected=True).is_renewed


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda node: node.key.unlink(), "node.key cannot be read: No such file"),
        (lambda node: node.certificate.write_text("not PEM"), "node.pem does not hold a certificate"),
        (lambda node: node.ca.write_bytes(b""), "ca.pem does not hold a certificate"),
        (
            lambda node: node.certificate.write_bytes(node.certificate.read_bytes()[:300]),
            "node.pem and",
        ),
    ],
    ids=["gone", "no-pem", "empty-ca", "half"],
)
async def test_files_that_break_are_told_and_cost_nothing(
    broker: Mosquitto, node: Identity, spoil: object, told: str
) -> None:
    link = link_of(node, broker.port)
    watch = watch_of(link)
    assert callable(spoil)
    spoil(node)
    check = await asyncio.to_thread(checks, watch)
    assert check.trouble is not None
    assert told in check.trouble
    assert not check.is_renewed
    # The pair in memory still opens the door.
    session = await link.connect(will=WILL, keepalive_s=20)
    await session.disconnect()
    broker.authority.issue("nano-42").write_over(node)
    repaired = await asyncio.to_thread(checks, watch)
    assert (repaired.trouble, repaired.is_renewed) == (None, True)


@pytest.mark.parametrize("kind", ["expired", "stranger", "another name", "another authority"])
async def test_a_pair_that_the_broker_refuses_is_not_taken(
    broker: Mosquitto, node: Identity, tmp_path: Path, kind: str
) -> None:
    link = link_of(node, broker.port)
    watch, before = watch_of(link), in_use(link)
    elsewhere = Authority(tmp_path / "elsewhere")
    yesterday = datetime.now(tz=UTC) - timedelta(days=1)
    if kind == "expired":
        broker.authority.issue("nano-42", not_after=yesterday).write_over(node)
        told = "certificate expired"
    elif kind == "stranger":
        stranger = elsewhere.issue("nano-42")
        shutil.copy(stranger.certificate, node.certificate)
        shutil.copy(stranger.key, node.key)
        told = "unknown ca"
    elif kind == "another name":
        broker.authority.issue("nano-43").write_over(node)
        told = "is for 'nano-43', not for 'nano-42'"
    else:
        elsewhere.issue("nano-42").write_over(node)
        told = "wrong CA: the certificate of"
    check = await asyncio.to_thread(checks, watch)
    assert check.trouble is not None
    assert check.trouble.startswith("the new certificate files are not used, the ones before still are: ")
    assert told in check.trouble
    assert in_use(link) == before
    session = await link.connect(will=WILL, keepalive_s=20)
    await session.disconnect()
    assert in_use(link) == before


def test_what_was_refused_is_tried_again_after_a_while(broker: Mosquitto, node: Identity) -> None:
    clock = FakeClock()
    watch = watch_of(link_of(node, broker.port, clock))
    yesterday = datetime.now(tz=UTC) - timedelta(days=1)
    broker.authority.issue("nano-42", not_after=yesterday).write_over(node)
    assert checks(watch).trouble is not None
    trials = broker.log.count("New connection")
    checks(watch, count=5)
    assert broker.log.count("New connection") == trials
    clock.advance(601)
    watch.check(connected=True)
    until_blocking(lambda: broker.log.count("New connection") == trials + 1)


def test_a_broker_that_is_away_says_nothing_about_a_pair(broker: Mosquitto, node: Identity) -> None:
    clock = FakeClock()
    watch = watch_of(link_of(node, free_port(), clock))
    broker.authority.issue("nano-42").write_over(node)
    check = checks(watch)
    assert (check.trouble, check.is_renewed) == (None, False)


def test_silence_after_the_handshake_is_a_yes(broker: Mosquitto, node: Identity) -> None:
    """From brokers that give no tickets."""
    quiet = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = broker.authority.issue("quiet", HOST)
    quiet.load_cert_chain(server.certificate, server.key)
    quiet.num_tickets = 0
    since = time.monotonic()
    with serving(quiet) as port:
        try_credentials(
            Broker(host=HOST, port=port),
            read_credentials(files_of(node)),
            floor=lambda: None,
            timeout_s=5,
            verdict_s=0.3,
        )
    assert time.monotonic() - since >= 0.3


# --- there is no session ----------------------------------------------------------------------------


async def test_a_certificate_that_expired_offline_and_was_renewed_on_disk_just_works(
    broker: Mosquitto, node: Identity
) -> None:
    yesterday = datetime.now(tz=UTC) - timedelta(days=1)
    broker.authority.issue("nano-42", not_after=yesterday).write_over(node)
    link = link_of(node, broker.port)
    with pytest.raises(TransientError) as raised:
        await link.connect(will=WILL, keepalive_s=20)
    assert raised.value.path == "tls"
    broker.authority.issue("nano-42").write_over(node)
    session = await link.connect(will=WILL, keepalive_s=20)
    await session.disconnect()
    check = await asyncio.to_thread(checks, watch_of(link))
    assert (check.trouble, check.is_renewed) == (None, False)


# --- before it is too late --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "warns"), [(0.9, False), (0.26, False), (0.24, True), (0.001, True), (-0.1, True)]
)
@pytest.mark.parametrize("days", [0.5, 180, 3650], ids=["half a day", "half a year", "ten years"])
def test_a_certificate_with_less_than_a_quarter_of_its_life_is_told(
    tmp_path: Path, days: float, share: float, warns: bool
) -> None:
    now = datetime.now(tz=UTC)
    begin, end = now - timedelta(days=days * (1 - share)), now + timedelta(days=days * share)
    issued = Authority(tmp_path).issue("nano-42", not_before=begin, not_after=end)
    credentials = read_credentials(files_of(issued))
    said = warning(credentials, now_s=now.timestamp())
    assert (said is not None) == warns
    assert left_s(credentials, now_s=now.timestamp()) == pytest.approx(days * share * 86_400, abs=2)
    assert life_left(credentials, now_s=now.timestamp()) == pytest.approx(share, abs=1e-4)
    if said is not None:
        assert f"{tmp_path}/nano-42.pem expire" in said
        assert "without a restart" in said


def test_without_a_certificate_no_life_is_left_to_tell_of(node: Identity) -> None:
    credentials = read_credentials(TlsFiles(ca=files_of(node).ca))
    assert life_left(credentials, now_s=time.time()) is None


# --- what is not documented -------------------------------------------------------------------------


def test_credentials_show_no_key(node: Identity) -> None:
    credentials = read_credentials(files_of(node))
    assert "PRIVATE" not in repr(credentials)
    assert "BEGIN" not in repr(credentials)


def test_a_certificate_is_decoded_without_a_handshake(node: Identity) -> None:
    """`_ssl._test_decode_cert` is not public."""
    credentials = read_credentials(files_of(node))
    assert credentials.name == "nano-42"
    assert credentials.validity is not None
    assert credentials.validity.not_before_s == ssl.cert_time_to_seconds("Jan  1 00:00:00 2000 GMT")


def test_the_verified_chain_ends_with_the_authority(broker: Mosquitto, node: Identity) -> None:
    """`_sslobj.get_verified_chain` is not public before Python 3.13."""
    context = read_credentials(files_of(node)).context()
    with (
        socket.create_connection((HOST, broker.port)) as connected,
        context.wrap_socket(connected, server_hostname=HOST) as secured,
    ):
        chain = verified_chain(secured)
    assert len(chain) == 2
    assert ("IP Address", HOST) in chain[0]["subjectAltName"]
    assert chain[1]["subject"] == chain[0]["issuer"]


def test_a_ticket_leaves_its_mark_on_the_session_without_any_data(broker: Mosquitto, node: Identity) -> None:
    context = read_credentials(files_of(node)).context()
    with (
        socket.create_connection((HOST, broker.port)) as connected,
        context.wrap_socket(connected, server_hostname=HOST) as secured,
    ):
        assert secured.version() == "TLSv1.3"
        secured.setblocking(False)
        select.select([secured], [], [], 5)
        with pytest.raises(ssl.SSLWantReadError):
            secured.recv(1)
        assert secured.session is not None
        assert secured.session.has_ticket


def test_half_of_a_pair_in_the_settings_is_a_mistake(node: Identity) -> None:
    with pytest.raises(ConfigError, match="go together"):
        read_credentials(TlsFiles(ca=node.ca, certificate=node.certificate))
