"""One HTTP request: read within a deadline, answered, closed."""

import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

_MOST_BYTES: Final = 16_384
"""Of a request line with its headers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Request(BaseHTTPRequestHandler):
    """Serves one GET or HEAD on `connection` while it is constructed; other methods are refused.

    `answer` is given the path and the Accept header; None is 404. Reading may take `patience_s` in all, and
    so may writing.
    """

    server_version = "nanofleet"
    sys_version = ""
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(
        self, connection: socket.socket, *, answer: Callable[[str, str], Answer | None], patience_s: float
    ) -> None:
        self._answer = answer
        self._patience_s = patience_s
        # The base class only keeps the two for its subclasses.
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Punctual(self.connection, self._patience_s))

    def do_GET(self) -> None:
        """Answer with the body."""
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without it."""
        self._respond(with_body=False)

    def do_POST(self) -> None:
        """Refuse, as PUT, DELETE, PATCH and OPTIONS are refused: nothing can be changed here."""
        body = b"405 only GET and HEAD\n"
        self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, self.error_content_type, body), with_body=True)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST  # noqa: N815 (the base class finds them by name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Say nothing: a probe every few seconds is no news."""

    def _respond(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        answer = self._answer(path, self.headers.get("Accept", ""))
        if answer is None:
            answer = Answer(HTTPStatus.NOT_FOUND, self.error_content_type, b"404 not found\n")
        self._send(answer, with_body=with_body)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.connection.settimeout(self._patience_s)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)


class _Punctual(io.RawIOBase):
    """Reads a socket up to a deadline for everything: a timeout per read would let one byte a second pass."""

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        self._connection = connection
        self._deadline_s = time.monotonic() + patience_s
        self._left = _MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Raises: TimeoutError past the deadline. A head too long looks like its end."""
        remaining_s = self._deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining_s)
        count = self._connection.recv_into(buffer[: min(len(buffer), self._left)]) if self._left else 0
        self._left -= count
        return count
