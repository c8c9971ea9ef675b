"""Ansible module: opens one MQTT 5 session over mutual TLS, as far as it gets, and ends it again.

Standard library alone, so that it runs on any controller with Linux.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: nanofleet_mqtt_session
short_description: Try whether a broker lets somebody in
description:
  - Opens one MQTT 5 session over TLS and ends it again. The broker's certificate is verified.
  - A session with the same client id, which the broker takes from the certificate, is taken over.
options:
  host: {type: str, required: true, description: Name or address of the broker; its certificate has it.}
  port: {type: int, default: 8883, description: TCP port.}
  ca_file: {type: path, required: true, description: Whom to trust.}
  certificate_file: {type: path, description: Whom to be. Without one, it is tried without a certificate.}
  key_file: {type: path, description: The key of certificate_file.}
  certificate: {type: str, description: The same as text.}
  key:
    type: str
    description:
      - The same as text. It touches no disk with C(ansible_pipelining); else it stands in the module's file.
  websocket: {type: bool, default: false, description: Only shake hands, by WebSocket.}
  echo_topic: {type: str, description: "Subscribe here, publish here, and wait for it."}
  stay_s: {type: int, default: 0, description: Stay so long, and fail if the session is ended meanwhile.}
  expect:
    type: str
    choices: [accepted, refused]
    default: accepted
    description:
      - refused - fail unless the broker is there and ends the handshake or the session.
  timeout_s: {type: int, default: 10, description: For each step.}
author: [nanofleet]
"""

_CONNACK, _PUBACK, _SUBACK, _PUBLISH = 0x20, 0x40, 0x90, 0x30
_FAILURE: Final = 0x80
_ECHO: Final = b'{"v":1,"op":"ping","id":"verify","args":{},"issuer":"verify"}'
"""As a command, since it may go where commands do, and others hear it too."""


class RefusedError(Exception):
    """The broker is there, and wants nothing of us."""


def main() -> None:
    """What Ansible runs."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 8883},
            "ca_file": {"type": "path", "required": True},
            "certificate_file": {"type": "path"},
            "key_file": {"type": "path", "no_log": False},
            "certificate": {"type": "str"},
            "key": {"type": "str", "no_log": True},
            "websocket": {"type": "bool", "default": False},
            "echo_topic": {"type": "str"},
            "stay_s": {"type": "int", "default": 0},
            "expect": {"type": "str", "choices": ["accepted", "refused"], "default": "accepted"},
            "timeout_s": {"type": "int", "default": 10},
        },
        required_together=[("certificate_file", "key_file"), ("certificate", "key")],
        mutually_exclusive=[("certificate_file", "certificate")],
        supports_check_mode=True,
    )
    wanted = module.params
    where = f"{wanted['host']}:{wanted['port']}"
    try:
        _try(wanted)
    except RefusedError as error:
        if wanted["expect"] == "accepted":
            module.fail_json(msg=f"the broker at {where} refused: {error}")
        module.exit_json(changed=False, refused=str(error))
    except OSError as error:
        module.fail_json(msg=f"there is no broker that could be tried at {where}: {error}")
    else:
        if wanted["expect"] == "refused":
            module.fail_json(msg=f"the broker at {where} let in whom it should have refused")
        module.exit_json(changed=False, refused=None)


def _try(wanted: dict[str, Any]) -> None:
    """Raises: RefusedError; OSError: nobody answers, or it is somebody else."""
    context = _context(wanted)
    address = (wanted["host"], wanted["port"])
    with socket.create_connection(address, timeout=wanted["timeout_s"]) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=wanted["host"]) as secured:
                if wanted["websocket"]:
                    _shake_hands(secured, wanted["host"])
                else:
                    _hold_session(secured, wanted["echo_topic"], wanted["stay_s"])
        except ssl.SSLCertVerificationError:
            raise
        # In TLS 1.3 a client that is refused hears of it with the first answer, after its handshake.
        except (ssl.SSLError, ConnectionError, EOFError) as error:
            raise RefusedError(
                getattr(error, "reason", None) or str(error) or "the connection was closed"
            ) from error


def _context(wanted: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=wanted["ca_file"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if wanted["certificate_file"]:
        context.load_cert_chain(wanted["certificate_file"], wanted["key_file"])
    elif wanted["certificate"]:
        with _file(wanted["certificate"]) as certificate, _file(wanted["key"]) as key:
            context.load_cert_chain(certificate, key)
    return context


@contextmanager
def _file(text: str) -> Iterator[str]:
    """The path of a file with it, in memory: however this process ends, nothing of it is left."""
    with os.fdopen(os.memfd_create("nanofleet", os.MFD_CLOEXEC), "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _hold_session(connection: ssl.SSLSocket, topic: str | None, stay_s: int) -> None:
    # Source: MQTT 5, 3.1. Clean start, keepalive 30 s; the client id comes from the certificate.
    connection.sendall(_packet(0x10, _text("MQTT") + b"\x05\x02\x00\x1e\x00" + _text("")))
    _check("CONNECT", _await(connection, _CONNACK)[1])
    if topic is not None:
        connection.sendall(_packet(0x82, b"\x00\x01\x00" + _text(topic) + b"\x01"))
        _check("SUBSCRIBE", _await(connection, _SUBACK)[-1])
        connection.sendall(_packet(0x32, _text(topic) + b"\x00\x02\x00" + _ECHO))
        _await_echo(connection)
    if stay_s:
        _stay(connection, stay_s)
    connection.sendall(_packet(0xE0, b""))


def _stay(connection: ssl.SSLSocket, stay_s: int) -> None:
    connection.settimeout(stay_s)
    try:
        kind, body = _read(connection)
    except TimeoutError:
        return
    # Source: MQTT 5, 3.14.2.1. 0x8E: somebody came in with the same client id.
    raise RefusedError(
        f"it ended the session meanwhile (packet 0x{kind:02x}, {body[:1].hex() or 'no reason'})"
    )


def _await_echo(connection: ssl.SSLSocket) -> None:
    """PUBACK and the message itself, in whichever order they come."""
    left = {_PUBACK, _PUBLISH}
    while left:
        kind, body = _read(connection)
        if kind == _PUBACK and len(body) > 2:
            _check("PUBLISH", body[2])
        if kind != _PUBLISH or body.endswith(_ECHO):
            left.discard(kind)


def _check(what: str, reason: int) -> None:
    if reason >= _FAILURE:
        raise RefusedError(f"{what} was answered with 0x{reason:02x}")


def _await(connection: ssl.SSLSocket, kind: int) -> bytes:
    while True:
        got, body = _read(connection)
        if got == kind:
            return body


def _read(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """The next packet: its type and what follows the length."""
    kind = _exactly(connection, 1)[0] & 0xF0
    length = shift = 0
    while True:
        byte = _exactly(connection, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return kind, _exactly(connection, length)


def _exactly(connection: ssl.SSLSocket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        part = connection.recv(count - len(got))
        if not part:
            raise EOFError("the connection was closed")
        got += part
    return got


def _packet(head: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([head]) + length + body


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _shake_hands(connection: ssl.SSLSocket, host: str) -> None:
    # Source: RFC 6455, 4.1, and MQTT 5, 6.
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
    )
    status = _exactly(connection, 12).decode(errors="replace")
    if status != "HTTP/1.1 101":
        raise RefusedError(f"the WebSocket was answered with {status}")


if __name__ == "__main__":
    main()
