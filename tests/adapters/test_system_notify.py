from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.adapters.system.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A datagram socket as systemd listens on one, and what it would put into NOTIFY_SOCKET."""
    path = str(tmp_path / "notify")
    named = path if request.param == "file" else f"@nanofleet-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(path if request.param == "file" else "\0" + named[1:])
        listening.settimeout(5)
        yield listening, named


def test_each_call_is_one_datagram_of_the_protocol(manager: tuple[socket.socket, str]) -> None:
    listening, named = manager
    notifier = Notifier(environment={"NOTIFY_SOCKET": named})
    notifier.status("3 cameras\nREADY=1\tforged ")
    notifier.ready()
    notifier.watchdog()
    notifier.extend_timeout(1.5)
    notifier.stopping()
    received = [listening.recv(4096) for _ in range(5)]
    notifier.close()
    assert received == [
        b"STATUS=3 cameras READY=1 forged",
        b"READY=1",
        b"WATCHDOG=1",
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STOPPING=1",
    ]


@pytest.mark.parametrize("named", ["", "relative/path", "vsock:2:1234"])
def test_without_a_usable_socket_nothing_happens(named: str) -> None:
    notifier = Notifier(environment={"NOTIFY_SOCKET": named} if named else {})
    notifier.ready()
    notifier.watchdog()
    notifier.close()
    assert notifier.watchdog_interval_s is None


def test_what_could_not_be_sent_goes_along_with_the_next_message(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    notifier = Notifier(environment={"NOTIFY_SOCKET": path})
    notifier.ready()
    notifier.status("first")
    notifier.status("second")
    notifier.watchdog()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(path)
        listening.settimeout(5)
        notifier.watchdog()
        notifier.watchdog()
        received = [listening.recv(4096) for _ in range(2)]
    notifier.close()
    assert received == [b"READY=1\nSTATUS=second\nWATCHDOG=1", b"WATCHDOG=1"]


def test_a_manager_that_does_not_read_blocks_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(path)
        notifier = Notifier(environment={"NOTIFY_SOCKET": path})
        for _ in range(5000):  # far more than a datagram queue holds
            notifier.watchdog()
        listening.setblocking(False)
        assert listening.recv(4096) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval_is_half_of_systemds_patience(
    environment: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier(environment=environment).watchdog_interval_s == interval_s
