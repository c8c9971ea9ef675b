"""What mosquitto does that its manual does not say, and on which the roles `pki` and `broker` rely."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.brokers import HOST, Identity
from tests.fleet.role_broker import RoleBroker, connected, is_let_in, names

pytestmark = [pytest.mark.ansible, pytest.mark.broker]

DAY = timedelta(days=1)
CLIENTS = [{"name": "controller", "access": "operate"}, {"name": "historian", "access": "store"}]
NODE = "edge/v1/plant/nano-1"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RoleBroker]:
    with RoleBroker(
        tmp_path,
        nanofleet_broker_clients=CLIENTS,
        __nanofleet_broker_admitted=names("nano-1", "nano-2"),
        __nanofleet_broker_gone=[],
    ) as broker:
        yield broker


@pytest.fixture
def node(broker: RoleBroker, tmp_path: Path) -> Identity:
    """Its files stay when a certificate of the same name is issued."""
    return broker.authority.issue("nano-1").copied_to(tmp_path / "stolen")


def served(broker: RoleBroker, port: int) -> str:
    """The serial number of the certificate that the broker shows."""
    with (
        socket.create_connection((HOST, port), timeout=10) as plain,
        client_context(broker.authority.issue("controller")).wrap_socket(plain, server_hostname=HOST) as tls,
    ):
        certificate = tls.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def client_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(identity.ca))
    context.load_cert_chain(identity.certificate, identity.key)
    return context


def test_a_reload_takes_the_revocation_list_and_leaves_who_is_in(broker: RoleBroker, node: Identity) -> None:
    with connected(node, broker.port) as session:
        broker.revoke(node)
        assert is_let_in(broker.authority.issue("nano-2"), broker.port)
        broker.reload()
        assert not is_let_in(node, broker.port)
        assert is_let_in(broker.authority.issue("nano-2"), broker.port)
        assert session.publish(f"{NODE}/state") < 0x80
        assert not session.has_ended.is_set()


def test_a_reload_takes_the_access_list_for_who_is_in(broker: RoleBroker, node: Identity) -> None:
    with (
        connected(node, broker.port) as session,
        connected(broker.authority.issue("controller"), broker.port) as operator,
    ):
        session.subscribe(f"{NODE}/config/desired")
        broker.admit(__nanofleet_broker_admitted=names("nano-2"))
        broker.reload()
        assert session.publish(f"{NODE}/state") == 0x87
        operator.publish(f"{NODE}/config/desired")
        broker.admit(__nanofleet_broker_admitted=names("nano-1"))
        broker.reload()
        operator.publish(f"{NODE}/config/desired", b"second")
        session.wait_for(f"{NODE}/config/desired")
        assert session.received == {f"{NODE}/config/desired": b"second"}


def test_a_reload_takes_certificate_and_key_of_the_broker_but_not_for_websockets(broker: RoleBroker) -> None:
    before = served(broker, broker.port)
    assert served(broker, broker.websocket_port) == before
    with connected(broker.authority.issue("nano-2"), broker.port) as session:
        broker.certify()
        broker.reload()
        after = served(broker, broker.port)
        assert after != before
        assert served(broker, broker.websocket_port) == before
        assert not session.has_ended.is_set()
    broker.restart()
    assert served(broker, broker.websocket_port) == after


def test_a_session_ends_when_another_certificate_of_its_name_comes_in(
    broker: RoleBroker, node: Identity
) -> None:
    """So that decommission.yml can drop what runs, without a restart."""
    with (
        connected(node, broker.port) as stolen,
        connected(node, broker.websocket_port, websocket=True) as other,
    ):
        assert stolen.has_ended.wait(10)
        broker.revoke(node)
        broker.reload()
        with connected(broker.authority.issue("nano-1"), broker.port) as ours:
            assert other.has_ended.wait(10)
            assert not is_let_in(node, broker.port)
            assert not ours.has_ended.wait(0.5)


def test_no_ticket_of_an_earlier_session_gets_round_the_revocation_list(
    broker: RoleBroker, node: Identity
) -> None:
    context = client_context(node)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        broker.revoke()
        broker.reload()
        context.maximum_version = version
        with (
            socket.create_connection((HOST, broker.port), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            # Tickets of TLS 1.3 come after the handshake; nothing else does.
            with pytest.raises(TimeoutError):
                tls.recv(1)
            ticket = tls.session
        broker.revoke(node)
        broker.reload()
        assert not _is_let_in_by(context, ticket, broker.port)


def test_an_expired_revocation_list_lets_nobody_in_and_leaves_who_is_in(broker: RoleBroker) -> None:
    """Hence its life of two years, its renewal at half of it, and a broker host that looks every day."""
    with connected(broker.authority.issue("nano-1"), broker.port) as session:
        broker.revoke(begins=-2 * DAY, ends=-DAY)
        broker.reload()
        assert not is_let_in(broker.authority.issue("nano-2"), broker.port)
        assert not is_let_in(broker.authority.issue("controller"), broker.port)
        assert session.publish(f"{NODE}/state") < 0x80
    broker.restart()
    assert not is_let_in(broker.authority.issue("nano-2"), broker.port)
    broker.revoke()
    broker.reload()
    assert is_let_in(broker.authority.issue("nano-2"), broker.port)


def test_a_revocation_list_from_tomorrow_lets_nobody_in(broker: RoleBroker) -> None:
    """Hence it is dated back, for a broker whose clock is behind the controller's."""
    broker.revoke(begins=DAY, ends=2 * DAY)
    broker.reload()
    assert not is_let_in(broker.authority.issue("nano-2"), broker.port)


def test_a_revocation_list_that_cannot_be_read_lets_the_revoked_in(
    broker: RoleBroker, node: Identity
) -> None:
    """Hence it is held against openssl before it gets there, and a revoked certificate is tried then."""
    broker.revoke(node)
    broker.reload()
    assert not is_let_in(node, broker.port)
    (broker.etc / "crl.pem").write_text("half a li")
    broker.reload()
    assert is_let_in(node, broker.port)


def test_a_websocket_knows_no_revocation_list_but_the_access_list(broker: RoleBroker, node: Identity) -> None:
    broker.revoke(node)
    broker.admit(__nanofleet_broker_admitted=names("nano-2"))
    broker.reload()
    with connected(node, broker.websocket_port, websocket=True) as session:
        assert session.publish(f"{NODE}/state") == 0x87


@pytest.mark.parametrize(
    ("does", "gets"),
    [("nothing", {"one", "two"}), ("restart", {"one", "two"}), ("reload", {"one"})],
)
def test_who_is_away_gets_what_came_meanwhile_unless_lists_were_reloaded(
    broker: RoleBroker, does: str, gets: set[str]
) -> None:
    """A reload takes its rights from a session that nobody uses now, until it is used again.

    Hence nanofleet_broker_apply, and a rotation of the log that reloads nothing.
    """
    historian, node = broker.authority.issue("historian"), broker.authority.issue("nano-1")
    with connected(historian, broker.port, keep_session=True) as session:
        session.subscribe("edge/#")
    with connected(node, broker.port) as writer:
        writer.publish(f"{NODE}/events/one")
    {"nothing": lambda: None, "restart": broker.restart, "reload": broker.reload}[does]()
    with connected(node, broker.port) as writer:
        writer.publish(f"{NODE}/events/two")
    with connected(historian, broker.port, keep_session=True) as session:
        with connected(node, broker.port) as writer:
            writer.publish(f"{NODE}/events/three")
        session.wait_for(f"{NODE}/events/three")
        assert set(session.received) == {f"{NODE}/events/{word}" for word in {*gets, "three"}}


def test_what_a_node_that_is_gone_has_left_can_be_seen(broker: RoleBroker) -> None:
    """With check_retain_source, which is the default, it would be hidden, and come back with the node."""
    with connected(broker.authority.issue("nano-1"), broker.port) as node:
        node.publish(f"{NODE}/state", retain=True)
    broker.admit(__nanofleet_broker_admitted=[])
    broker.reload()
    with connected(broker.authority.issue("controller"), broker.port) as operator:
        operator.subscribe("edge/#")
        operator.wait_for(f"{NODE}/state")


def test_without_a_limit_of_queued_messages_who_is_refused_one_is_thrown_out(
    broker: RoleBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hence there is one, however high."""
    with connected(broker.authority.issue("nano-1"), broker.port) as node:
        assert node.publish("elsewhere") == 0x87
        assert node.publish(f"{NODE}/state") < 0x80
    text = broker._configuration().replace("max_queued_messages 1000000", "max_queued_messages 0")
    monkeypatch.setattr(broker, "_configuration", lambda: text)
    broker.restart()
    with connected(broker.authority.issue("nano-1"), broker.port) as node:
        node.publish("elsewhere")
        assert node.has_ended.wait(10)


def _is_let_in_by(context: ssl.SSLContext, ticket: ssl.SSLSession | None, port: int) -> bool:
    """Whether the broker goes on with an earlier TLS session."""
    try:
        with (
            socket.create_connection((HOST, port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname=HOST, session=ticket) as tls,
        ):
            return tls.recv(1) != b""
    except TimeoutError:
        return True  # it waits for our CONNECT
    except (ssl.SSLError, ConnectionError):
        return False
