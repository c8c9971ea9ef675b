"""What systemd does for the unit: readiness, the watchdog, `ExecStopPost`, and `Restart=on-failure`."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Final, Self

from agent.adapters.system.run_record import SERVICE_RESULT_FILE
from tests.e2e.agent_process import AgentProcess

_POLL_S: Final = 0.1
_STOP_S: Final = 15.0


class Supervisor:
    """Keeps `agent` running from ``with`` to its end, with `watchdog_s` for WatchdogSec.

    Source: systemd.service(5), WatchdogSec=, ExecStopPost=; systemd.exec(5), $SERVICE_RESULT; sd_notify(3).
    """

    def __init__(self, agent: AgentProcess, *, watchdog_s: float) -> None:
        self.results: list[str] = []
        """$SERVICE_RESULT of each life that has ended."""
        self.told: Counter[str] = Counter()
        """Names of the assignments that came, such as READY."""
        self._agent = agent
        self._watchdog_s = watchdog_s
        # Abstract, with a name that the kernel gives: the path of a socket may have 107 bytes.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("")
        self._socket.settimeout(_POLL_S)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def __enter__(self) -> Self:
        name = self._socket.getsockname().decode().replace("\0", "@")
        self._agent.environment["NOTIFY_SOCKET"] = name
        self._agent.environment["WATCHDOG_USEC"] = str(int(self._watchdog_s * 1e6))
        self._agent.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nobody is restarted any more; whoever still runs is left to the test."""
        self._leaving.set()
        self._thread.join(_STOP_S)
        self._socket.close()

    def _run(self) -> None:
        fed_s: float | None = None
        while not self._leaving.is_set():
            for name in self._hear():
                self.told[name] += 1
                if name == "READY" or (name == "WATCHDOG" and fed_s is not None):
                    fed_s = time.monotonic()
            if not self._agent.running:
                self._end("exit-code")
                fed_s = None
            elif fed_s is not None and time.monotonic() - fed_s > self._watchdog_s:
                os.kill(self._agent.pid, signal.SIGABRT)
                self._agent.wait(within_s=_STOP_S)
                self._end("watchdog")
                fed_s = None

    def _hear(self) -> list[str]:
        try:
            lines = self._socket.recv(65_536).decode().splitlines()
        except TimeoutError:
            return []
        return [line.partition("=")[0] for line in lines]

    def _end(self, result: str) -> None:
        self.results.append(result)
        (self._agent.state / SERVICE_RESULT_FILE).write_text(f"{result}\n")
        self._agent.start()
