from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.http.listener import Place
from agent.adapters.http.server import MOST_CLIENTS, HttpServer
from agent.domain.errors import Code, ConfigError
from tests.polling import until_blocking


class Node:
    """What the server asks; a test turns its switches."""

    def __init__(self) -> None:
        self.lives = True
        self.is_ready = False
        self.accepts: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    def health(self) -> tuple[bool, dict[str, Any]]:
        self.hold.wait(30)
        return self.lives, {"stages": {"loop": {"age_s": 0.2}}}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.is_ready, {"waiting_for": [] if self.is_ready else ["broker"]}

    def metrics_page(self, accept: str) -> tuple[bytes, str]:
        self.accepts.append(accept)
        return b"nanofleet_rows 3\n", "text/plain; version=0.0.4"


def server_on(place: Place, node: Node, patience_s: float = 5.0) -> HttpServer:
    return HttpServer(
        listen=place,
        health=node.health,
        ready=node.ready,
        metrics_page=node.metrics_page,
        patience_s=patience_s,
    )


@contextlib.contextmanager
def running(place: Place, node: Node, patience_s: float = 5.0) -> Iterator[HttpServer]:
    server = server_on(place, node, patience_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(place: Place) -> socket.socket:
    if isinstance(place, Path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        connection.connect(str(place))
        return connection
    return socket.create_connection(place, timeout=10)


def ask(
    place: Place, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    client = http.client.HTTPConnection("localhost", timeout=10)
    client.sock = connect(place)
    with contextlib.closing(client):
        client.request(method, path, headers=headers or {})
        response = client.getresponse()
        return response, response.read()


@pytest.fixture(params=["unix", "127.0.0.1", "localhost"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return tmp_path / "http.sock" if request.param == "unix" else (request.param, 0)


def test_health_readiness_and_metrics_are_served(place: Place) -> None:
    node = Node()
    with running(place, node) as server:
        lives, facts = ask(server.place, "/healthz?verbose=1")
        waits, reasons = ask(server.place, "/readyz")
        node.lives, node.is_ready = False, True
        dead, _ = ask(server.place, "/healthz")
        ready, _ = ask(server.place, "/readyz")
        metrics, page = ask(server.place, "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert (lives.status, waits.status, dead.status, ready.status) == (200, 503, 503, 200)
    assert lives.headers["Content-Type"] == "application/json"
    assert json.loads(facts) == {"status": "ok", "stages": {"loop": {"age_s": 0.2}}}
    assert json.loads(reasons) == {"status": "failed", "waiting_for": ["broker"]}
    assert (metrics.status, page) == (200, b"nanofleet_rows 3\n")
    assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert node.accepts == ["application/openmetrics-text"]


def test_head_gives_the_length_without_the_body(place: Place) -> None:
    with running(place, Node()) as server:
        response, body = ask(server.place, "/metrics", method="HEAD")
    assert (response.status, response.headers["Content-Length"], body) == (200, "17", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(method: str) -> None:
    with running(("127.0.0.1", 0), Node()) as server:
        response, _ = ask(server.place, "/healthz", method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /absent HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /healthz/../metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"BREW /healthz HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/9\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 15_000 + b" HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_strange_requests_are_answered_without_harm(sent: bytes, status: bytes) -> None:
    with running(("127.0.0.1", 0), Node()) as server:
        with connect(server.place) as client:
            client.sendall(sent)
            assert status in client.recv(4096).splitlines()[0]
        response, _ = ask(server.place, "/healthz")
    assert response.status == 200


def test_a_client_that_drips_or_is_silent_is_cut_off() -> None:
    with running(("127.0.0.1", 0), Node(), patience_s=0.3) as server:
        with connect(server.place) as dripping, connect(server.place) as silent:
            dripping.settimeout(0.02)
            cut: list[bytes] = []

            def is_cut() -> bool:
                with contextlib.suppress(TimeoutError):
                    dripping.sendall(b"G")
                    cut.append(dripping.recv(100))
                return b"" in cut

            with contextlib.suppress(ConnectionError):  # cut while writing
                until_blocking(is_cut)
            assert silent.recv(100) == b""
        response, _ = ask(server.place, "/healthz")
    assert response.status == 200


def test_more_clients_than_there_is_room_for_are_turned_away_at_once() -> None:
    node = Node()
    node.hold.clear()
    with running(("127.0.0.1", 0), node) as server, contextlib.ExitStack() as clients:
        held = [clients.enter_context(connect(server.place)) for _ in range(MOST_CLIENTS)]
        for client in held:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        turned_away, _ = ask(server.place, "/readyz")
        node.hold.set()
        answers = [client.recv(4096)[:12] for client in held]
        until_blocking(lambda: ask(server.place, "/healthz")[0].status == 200)
    assert turned_away.status == 503
    assert answers == [b"HTTP/1.0 200"] * MOST_CLIENTS


def test_a_client_that_leaves_before_the_answer_harms_nobody(place: Place) -> None:
    node = Node()
    node.hold.clear()
    with running(place, node) as server:
        for _ in range(3):
            with connect(server.place) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        node.hold.set()
        until_blocking(lambda: ask(server.place, "/healthz")[0].status == 200)
        response, _ = ask(server.place, "/readyz")
    assert response.status == 503


def test_a_unix_socket_is_for_owner_and_group_and_goes_away_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    before = os.umask(0o077)
    try:
        with running(path, Node()):
            mode = path.stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    assert not path.exists()


def test_the_socket_of_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    script = (
        "import os, signal, socket, sys\n"
        "listening = socket.socket(socket.AF_UNIX)\n"
        "listening.bind(sys.argv[1])\n"
        "listening.listen()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with running(path, Node()):
        response, _ = ask(path, "/healthz")
    assert response.status == 200


def test_a_second_agent_on_the_same_place_is_refused_with_a_sentence(place: Place) -> None:
    with running(place, Node()) as first:
        with pytest.raises(ConfigError) as refused:
            server_on(first.place, Node()).start()
        response, _ = ask(first.place, "/healthz")
    assert response.status == 200
    assert refused.value.code == Code.BUSY
    assert "is a second agent running?" in refused.value.message or "in use" in refused.value.message


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_is_no_socket_is_never_replaced(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "precious"
    if is_folder:
        path.mkdir()
    else:
        path.write_text("data", encoding="ascii")
    with pytest.raises(ConfigError, match="exists and is no socket"):
        server_on(path, Node()).start()
    assert path.exists()


@pytest.mark.parametrize(
    "bad", [Path("/proc/http.sock"), Path("/run") / ("a" * 120), ("::", 0), ("192.0.2.1", 0)]
)
def test_a_place_that_cannot_be_used_is_refused_with_a_sentence(bad: Place) -> None:
    with pytest.raises(ConfigError, match=r"^E_[A-Z]+: \[http\] listen: .+(socket|wanted)") as refused:
        server_on(bad, Node()).start()
    assert refused.value.path == "http/listen"


def test_stopping_does_not_take_the_next_agents_socket_away(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    old = server_on(path, Node())
    old.start()
    path.unlink()
    with running(path, Node()):
        old.stop()
        response, _ = ask(path, "/healthz")
    assert response.status == 200


def test_stopping_waits_for_no_client() -> None:
    node = Node()
    node.hold.clear()
    server = server_on(("127.0.0.1", 0), node)
    server.start()
    with connect(server.place) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        server.stop()
        node.hold.set()
        with pytest.raises(ConnectionRefusedError):
            connect(server.place)
