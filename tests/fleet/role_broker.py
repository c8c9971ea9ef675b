"""A real mosquitto by the files that the role `broker` writes, with an authority that can revoke."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers import HOST, Authority, Identity, Mosquitto, free_port
from tests.fleet.roles import render
from tests.polling import until_blocking

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ROLE: Final = REPOSITORY / "deploy/ansible/roles/broker"


def variables(**more: Any) -> dict[str, Any]:
    """Those of the role that are plain values; `more` are those that it would make from an inventory."""
    plain: dict[str, Any] = {}
    for file in ("defaults/main.yml", "vars/main.yml"):
        plain |= yaml.safe_load((ROLE / file).read_text())
    return plain | more


def revocation_list(
    authority: Authority,
    *revoked: Identity,
    begins: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(days=730),
) -> bytes:
    """What revokes these certificates, as they are on disk now; from and until when, seen from now."""
    key = load_pem_private_key(authority.key, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.ca.read_bytes()).subject
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(issuer, now + begins, now + ends)
    for identity in revoked:
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


class RoleBroker(Mosquitto):
    """Configured by the role; `values` are what Ansible would have made of an inventory."""

    def __init__(self, folder: Path, *, authority: Authority | None = None, **values: Any) -> None:
        super().__init__(folder, authority=authority)
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.websocket_port = free_port()
        self._values = variables(
            __nanofleet_broker_etc=str(self.etc),
            nanofleet_broker_port=self.port,
            nanofleet_broker_websocket_port=self.websocket_port,
            **values,
        )
        self.certify()
        (self.etc / "ca.pem").write_bytes(self.authority.ca.read_bytes())
        self.revoke()
        self.admit()

    def start(self) -> Self:
        running = self.log.count(" running")
        super().start()
        # It listens before it would survive a SIGHUP.
        until_blocking(lambda: self.log.count(" running") > running)
        return self

    def certify(self) -> None:
        """Give the broker a new certificate, and a new key."""
        own = self.authority.issue("broker", HOST, "localhost")
        (self.etc / "broker.pem").write_bytes(own.certificate.read_bytes())
        (self.etc / "broker.key").write_bytes(own.key.read_bytes())

    def revoke(self, *identities: Identity, **dates: timedelta) -> None:
        (self.etc / "crl.pem").write_bytes(revocation_list(self.authority, *identities, **dates))

    def admit(self, **values: Any) -> None:
        """Write the access list anew."""
        self._values |= values
        values = self._values | {"__nanofleet_broker_let_in": self._values["nanofleet_broker_clients"]}
        (self.etc / "acl").write_text(render("broker", "acl.j2", values))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def reload(self) -> None:
        """As systemctl reload does; returns when it has been."""
        assert self._process is not None
        before = self.log.count("Reloading config")
        self._process.send_signal(1)
        until_blocking(lambda: self.log.count("Reloading config") > before)
        # The line is written first, and the work done within the same turn of its loop.
        time.sleep(0.3)

    def _configuration(self) -> str:
        here = [f"log_dest file {self._log}", f"persistence_location {self._folder}/"]
        if os.geteuid() == 0:
            here.append("user root")
        return "\n".join([*here, render("broker", "nanofleet.conf.j2", self._values)])


class Client:
    """One connection that is not made again; each call waits for its answer."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        self.has_ended = threading.Event()
        self._answers: list[int] = []
        self._has_answer = threading.Event()
        self.paho: paho.Client | None = None

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> int:
        """The reason code of the PUBACK."""
        self._has_answer.clear()
        assert self.paho is not None
        self.paho.publish(topic, payload, qos=1, retain=retain)
        assert self._has_answer.wait(10)
        return self._answers[-1]

    def subscribe(self, topic: str) -> None:
        self._has_answer.clear()
        assert self.paho is not None
        self.paho.subscribe(topic, qos=1)
        assert self._has_answer.wait(10)

    def wait_for(self, topic: str) -> None:
        """Until it has been received."""
        until_blocking(lambda: topic in self.received)

    def _answer(self, code: int) -> None:
        self._answers.append(code)
        self._has_answer.set()


@contextmanager
def connected(
    identity: Identity, port: int, *, websocket: bool = False, keep_session: bool = False
) -> Iterator[Client]:
    """A session as `identity`, whatever client id is asked for. Raises: ConnectionError, if it is refused."""
    client = Client()
    connection = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id="whoever",
        protocol=paho.MQTTv5,
        transport="websockets" if websocket else "tcp",
        reconnect_on_failure=False,
    )
    client.paho = connection
    connection.tls_set(str(identity.ca), str(identity.certificate), str(identity.key))
    connection.on_connect = lambda *arguments: client._answer(arguments[3].value)
    connection.on_publish = lambda *arguments: client._answer(arguments[3].value)
    connection.on_subscribe = lambda *arguments: client._answer(arguments[3][0].value)
    connection.on_message = lambda _client, _data, message: client.received.update(
        {message.topic: bytes(message.payload)}
    )
    connection.on_disconnect = lambda *_arguments: client.has_ended.set()
    properties = None
    if keep_session:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 600
    try:
        connection.connect(HOST, port, clean_start=not keep_session, properties=properties)
    except OSError as error:
        raise ConnectionError(str(error)) from error
    connection.loop_start()
    try:
        until_blocking(lambda: client._has_answer.is_set() or client.has_ended.is_set())
        if not client._answers:
            raise ConnectionError("it hung up")
        yield client
    finally:
        connection.disconnect()
        connection.loop_stop()


def is_let_in(identity: Identity, port: int, *, websocket: bool = False) -> bool:
    try:
        with connected(identity, port, websocket=websocket):
            return True
    except ConnectionError:
        return False


def names(*nodes: str) -> list[dict[str, str]]:
    """Nodes of one site."""
    return [{"name": name, "site": "plant"} for name in nodes]
