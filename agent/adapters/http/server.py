"""The HTTP server: health, readiness and metrics, from a thread that does not need the event loop."""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import structlog

from agent.adapters.http.listener import Listener, Place
from agent.adapters.http.request import Answer, Request

log = structlog.get_logger(__name__)

Check = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether all is well, and what to tell about it. Called in a request's thread; quick, and never blocks."""

MOST_CLIENTS: Final = 8
_BREATH_S: Final = 0.5
_STOP_S: Final = 2.0
_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HttpServer:
    """Answers GET and HEAD of `/healthz`, `/readyz` and `/metrics`.

    `health` (does the process live: 200, else 503) and `ready` (does it do its work) give JSON.
    `metrics_page` is given the Accept header and returns the page with its content type. Everything runs in
    threads of its own, so that a blocked event loop is told and not suffered; at most `MOST_CLIENTS` at once,
    each with `patience_s` to send its request and as long to take the answer.
    """

    def __init__(
        self,
        *,
        listen: Place,
        health: Check,
        ready: Check,
        metrics_page: Callable[[str], tuple[bytes, str]],
        patience_s: float = 5.0,
    ) -> None:
        self._listen = listen
        self._checks: dict[str, Check] = {"/healthz": health, "/readyz": ready}
        self._metrics_page = metrics_page
        self._patience_s = patience_s
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        self._stopping = threading.Event()
        self._listener: Listener | None = None
        self._waking: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def place(self) -> Place:
        """Where it listens, with the port that was given where 0 was asked for."""
        return self._listener.place if self._listener else self._listen

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            ConfigError: somebody else listens there, or the place cannot be used.
        """
        self._listener = listener = Listener(self._listen)
        listener.socket.setblocking(False)
        woken, self._waking = socket.socketpair()
        self._thread = threading.Thread(
            target=self._accept_all, args=(listener.socket, woken), name="http", daemon=True
        )
        self._thread.start()
        place = listener.place
        log.info("http.listening", place=str(place) if isinstance(place, Path) else "{}:{}".format(*place))

    def stop(self) -> None:
        """Listen no more; returns within about two seconds, whatever the clients do."""
        self._stopping.set()
        if self._listener is None or self._waking is None or self._thread is None:
            return
        self._waking.close()
        self._thread.join(_STOP_S)
        self._listener.close()

    def _accept_all(self, listening: socket.socket, woken: socket.socket) -> None:
        waiting = select.poll()
        waiting.register(listening, select.POLLIN)
        waiting.register(woken, select.POLLIN)
        with woken:
            while not self._stopping.is_set():
                waiting.poll()
                self._accept_one(listening)

    def _accept_one(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return  # woken, or the client has already left
        except OSError as error:  # for instance no file descriptor left: it may come back
            log.warning("http.accept_failed", error=str(error))
            self._stopping.wait(_BREATH_S)
            return
        if not self._room.acquire(blocking=False) or not self._start_serving(connection):
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                connection.sendall(_BUSY)

    def _start_serving(self, connection: socket.socket) -> bool:
        thread = threading.Thread(target=self._serve, args=(connection,), name="http.client", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left; this one must go on
            self._room.release()
            log.warning("http.thread_refused", error=str(error))
            return False
        return True

    def _serve(self, connection: socket.socket) -> None:
        try:
            # A client that leaves early is no news.
            with connection, contextlib.suppress(OSError):
                Request(connection, answer=self._answer, patience_s=self._patience_s)
        finally:
            self._room.release()

    def _answer(self, path: str, accept: str) -> Answer | None:
        if path == "/metrics":
            body, content_type = self._metrics_page(accept)
            return Answer(HTTPStatus.OK, content_type, body)
        check = self._checks.get(path)
        if check is None:
            return None
        well, facts = check()
        status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps({"status": "ok" if well else "failed", **facts}, default=str).encode() + b"\n"
        return Answer(status, "application/json", body)
