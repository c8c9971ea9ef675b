"""A small RTSP camera for tests: one track of Motion-JPEG, over TCP (interleaved) or UDP, plain or TLS.

Source: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 2617 (Digest).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.rtp_jpeg import jpeg_fragments

_SDP: Final = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track1\r\na=framerate:{rate}\r\n"
)
Send = Callable[[bytes], object]


class RtspServer:
    """Shows `pictures` again and again, `rate_hz` a second, on a free loopback port.

    With `credentials` it asks for them by Digest. After `stops_after` pictures it falls silent, and with
    `hangs_up` closes the connection. `requests` holds what clients asked, as text.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        *,
        rate_hz: float = 25.0,
        credentials: tuple[str, str] | None = None,
        path: str = "/live",
        stops_after: int | None = None,
        hangs_up: bool = False,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._packets = [jpeg_fragments(picture) for picture in pictures]
        self._rate_hz = rate_hz
        self._credentials = credentials
        self._path = path
        self._stops_after = stops_after
        self._hangs_up = hangs_up
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.requests: list[str] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"rtsp{'s' if tls else ''}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection, peer[0])

    def _serve(self, plain: socket.socket, peer: str) -> None:
        try:
            connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
        except OSError:  # the client does not trust the certificate
            return
        with (
            contextlib.suppress(OSError),  # the client has gone
            connection,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.bind(("127.0.0.1", 0))
            send: Send = connection.sendall
            for request in self._requests(connection):
                self.requests.append(request)
                method = request.split(" ", 1)[0]
                number = _header(request, "CSeq")
                status, extra = self._answer(request)
                if method == "SETUP" and status == "200 OK":
                    send, extra = _transport(request, connection, datagrams, peer)
                body = _SDP.format(rate=self._rate_hz) if method == "DESCRIBE" and status == "200 OK" else ""
                lines = [f"RTSP/1.0 {status}", f"CSeq: {number}", "Session: 1;timeout=60", *extra]
                lines += [f"Content-Type: application/sdp\r\nContent-Length: {len(body)}"] if body else []
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                if method == "PLAY" and status == "200 OK":
                    self._play(send)
                    if self._hangs_up:
                        return

    def _requests(self, connection: socket.socket) -> Iterator[str]:
        held = b""
        connection.settimeout(0.05)
        while not self._over.is_set():
            if held[:1] == b"$" and len(held) >= 4:  # the client's receiver reports
                held = held[4 + int.from_bytes(held[2:4]) :]
            elif held[:1] != b"$" and b"\r\n\r\n" in held:
                request, _, held = held.partition(b"\r\n\r\n")
                yield request.decode()
            else:
                try:
                    received = connection.recv(65_536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not received:
                    return
                held += received

    def _answer(self, request: str) -> tuple[str, list[str]]:
        method, target, _ = request.split(" ", 2)
        if self._credentials and method != "OPTIONS":
            user, password = self._credentials
            given = dict(re.findall(r'(\w+)="([^"]*)"', _header(request, "Authorization")))
            first = hashlib.md5(f"{user}:test:{password}".encode()).hexdigest()  # noqa: S324
            second = hashlib.md5(f"{method}:{given.get('uri')}".encode()).hexdigest()  # noqa: S324
            right = hashlib.md5(f"{first}:n0nce:{second}".encode()).hexdigest()  # noqa: S324
            if given.get("username") != user or given.get("response") != right:
                return "401 Unauthorized", ['WWW-Authenticate: Digest realm="test", nonce="n0nce"']
        if self._path not in target:
            return "404 Not Found", []
        return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"]

    def _play(self, send: Send) -> None:
        sequence = 0
        shown = 0
        while not self._over.is_set() and shown != self._stops_after:
            fragments = self._packets[shown % len(self._packets)]
            for index, fragment in enumerate(fragments):
                marker = 0x80 if index == len(fragments) - 1 else 0
                moment = int(shown * 90_000 / self._rate_hz) & 0xFFFFFFFF
                head = struct.pack("!BBHII", 0x80, marker | 26, sequence & 0xFFFF, moment, 0x5EED)
                sequence += 1
                try:
                    send(head + fragment)
                except OSError:
                    return
            shown += 1
            self._over.wait(1 / self._rate_hz)


def _transport(
    request: str, connection: socket.socket, datagrams: socket.socket, peer: str
) -> tuple[Send, list[str]]:
    """How the client wants its packets, and the header that agrees to it."""
    asked = _header(request, "Transport")
    if ports := re.search(r"client_port=(\d+)", asked):
        target = (peer, int(ports[1]))
        own = datagrams.getsockname()[1]
        agreed = f"client_port={target[1]}-{target[1] + 1};server_port={own}-{own + 1}"
        return (lambda packet: datagrams.sendto(packet, target)), [f"Transport: RTP/AVP;unicast;{agreed}"]

    def interleave(packet: bytes) -> None:
        connection.sendall(struct.pack("!cBH", b"$", 0, len(packet)) + packet)

    return interleave, ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]


def _header(request: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.*?)\r?$", request, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""
