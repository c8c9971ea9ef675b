"""A small HTTP camera for tests: Motion-JPEG in parts, files of a folder, Basic credentials, redirects."""

from __future__ import annotations

import base64
import http.server
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

_BOUNDARY: Final = "picture"


class HttpCamera:
    """Shows `pictures` at ``/video`` again and again, `rate_hz` a second, on a free loopback port.

    ``/folder/…`` serves files of `folder`. With `credentials` it asks for them by Basic; with `redirects_to`
    every answer points there. After `stops_after` pictures it falls silent, and with `hangs_up` closes the
    connection. `seen` holds path and Authorization of each request.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]] = (),
        *,
        rate_hz: float = 25.0,
        credentials: tuple[str, str] | None = None,
        redirects_to: str | None = None,
        folder: Path | None = None,
        stops_after: int | None = None,
        hangs_up: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.encoded = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
        self.pause_s = 1 / rate_hz
        self.proof = _basic(*credentials) if credentials else None
        self.redirects_to = redirects_to
        self.folder = folder
        self.stops_after = stops_after
        self.hangs_up = hangs_up
        self.over = threading.Event()
        self.seen: list[tuple[str, str | None]] = []
        self._server = _Server((host, port), _Handler)
        self._server.camera = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_port
        self.base = f"http{'s' if tls else ''}://{host}:{self.port}"
        self.url = f"{self.base}/video"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    camera: HttpCamera
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the certificate, or leaves early, is nothing to print."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        camera = self.server.camera
        proof = self.headers.get("Authorization")
        camera.seen.append((self.path, proof))
        if camera.proof is not None and proof != camera.proof:
            self._empty(401, "WWW-Authenticate", 'Basic realm="test"')
        elif camera.redirects_to is not None:
            self._empty(302, "Location", camera.redirects_to)
        elif self.path.startswith("/folder/") and camera.folder is not None:
            self._file(camera.folder / self.path.removeprefix("/folder/"))
        elif self.path == "/video":
            self._show(camera)
        else:
            self._empty(404, "X-Nothing", "here")

    def _empty(self, status: int, header: str, value: str) -> None:
        self.send_response(status)
        self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._empty(404, "X-Nothing", "here")
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _show(self, camera: HttpCamera) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        shown = 0
        while not camera.over.is_set() and shown != camera.stops_after:
            picture = camera.encoded[shown % len(camera.encoded)]
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            shown += 1
            camera.over.wait(camera.pause_s)
        if not camera.hangs_up:
            camera.over.wait()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
