"""The cloud developer's side: everything that the fleet says, from its first message to its last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from agent.contract.continuity import Continuity
from tests.programs import find_program

_STREAMS = frozenset({"detections", "telemetry", "events", "result", "loss"})


class Recorder:
    """`mosquitto_sub` as the dashboard, in a session that outlives every break of its connection."""

    def __init__(self, folder: Path, *, broker: str, pki: Path) -> None:
        self._file = folder / "received"
        self._broker = broker
        self._pki = pki
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._found: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        program = find_program("mosquitto_sub")
        assert program is not None
        client = self._pki / "clients/dashboard"
        with self._file.open("wb") as out:
            # It reconnects by itself, but ends where the broker tells it of an error; its session goes on.
            again = 'while :; do "$@"; sleep 1; done'
            command = [
                *("sh", "-c", again, "recorder", program, "-V", "mqttv5", "-h", self._broker, "-p", "8883"),
                *("--cafile", f"{self._pki}/ca.pem", "--cert", f"{client}.pem", "--key", f"{client}.key"),
                *("-i", "dashboard", "-c", "-x", "3600", "-q", "1", "-t", "edge/#", "-F", "%j"),
            ]
            self._process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=10)

    def messages(self, node: str, kind: str = "") -> list[dict[str, Any]]:
        """What `node` said so far, live, below `kind`: topic and content."""
        return [each for each in self._all() if each["node"] == node and each["stream"].startswith(kind)]

    def count(self, node: str, kind: str = "detections/") -> int:
        """How many messages of a kind came of `node`."""
        return len(self.messages(node, kind))

    def continuity(self) -> Continuity:
        """The account of everything that passed an outbox, from the first number that was heard on."""
        account = Continuity()
        for message in self._all():
            if message["stream"].partition("/")[0] in _STREAMS:
                stream = "result" if message["stream"].startswith("result/") else message["stream"]
                account.see(stream, message["content"])
        return account

    def _all(self) -> list[dict[str, Any]]:
        """All of it; what came since the last time is read."""
        with self._file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._found.extend(message for line in whole.splitlines() if (message := _message(line)) is not None)
        return self._found


def _message(line: bytes) -> dict[str, Any] | None:
    """Of one line; None for what is no JSON: snapshots, cleared topics, what mosquitto_sub says itself."""
    try:
        told = json.loads(line)
        payload = told["payload"]
        content = json.loads(payload) if isinstance(payload, str) else payload
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(content, dict):
        return None
    _, _, site, node, stream = told["topic"].split("/", 4)
    return {"site": site, "node": node, "stream": stream, "content": content}
