"""Telling systemd how the service is: sd_notify, without libsystemd."""

import os
import socket
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_MOST_STATUS_CHARS: Final = 200


class Notifier:
    """The service manager's notification socket; every call is without effect where there is none.

    Never blocks and never raises. What could not be sent, but for a watchdog feed, goes along with the next
    message. Used from one thread.

    Source: sd_notify(3), section Notes (the protocol), and sd_watchdog_enabled(3).
    """

    def __init__(self, *, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._unsent: list[str] = []
        self._complained = False
        self.watchdog_interval_s: Final = _watchdog_interval_s(environment)
        """How often `watchdog` wants to be called, in seconds: half of systemd's patience. None: never."""

    def ready(self) -> None:
        """Start-up is done. Units of Type=notify count as started only now."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for a person, shown by `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())[:_MOST_STATUS_CHARS]}")

    def watchdog(self) -> None:
        """All is well. systemd kills the process (SIGABRT) when it misses this for WatchdogSec."""
        self._send("WATCHDOG=1", keep=False)

    def stopping(self) -> None:
        """The ordered stop has begun."""
        self._send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """Starting or stopping goes on: ask for so much more time, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", keep=False)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, assignment: str, *, keep: bool = True) -> None:
        if self._address is None:
            return
        message = "\n".join([*self._unsent, assignment]).encode()
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto(message, self._address)
        except OSError as error:
            if keep:
                # A later assignment replaces an earlier one of the same name, so this stays short.
                name = assignment.partition("=")[0] + "="
                self._unsent = [*(old for old in self._unsent if not old.startswith(name)), assignment]
            if not self._complained:
                self._complained = True
                log.warning("notify.send_failed", error=str(error))
        else:
            self._unsent = []


def _address(text: str) -> str | None:
    """`sockaddr_un` as Python writes it; an abstract socket's leading '@' stands for NUL."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None  # inherited: another process is the one that is watched
    return int(usec) / 2e6
