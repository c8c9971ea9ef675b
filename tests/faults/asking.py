"""What the node says of itself, asked at its own HTTP socket: also while no broker can be reached."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.e2e.agent_process import AgentProcess


def ask(agent: AgentProcess, path: str) -> str:
    """The body that GET gives; empty while nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(agent.http_socket))
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: link.recv(65_536), b"")).decode()
    except OSError:
        return ""
    return answer.partition("\r\n\r\n")[2]


def health_of(agent: AgentProcess) -> dict[str, Any]:
    """As on `B/health`; empty while nobody answers."""
    body = ask(agent, "/readyz")
    described: dict[str, Any] = json.loads(body) if body else {}
    return described


def outbox_status(agent: AgentProcess) -> str | None:
    """Of the stage `outbox`: ok, degraded or failed; None while nobody answers."""
    stage = health_of(agent).get("stages", {}).get("outbox")
    return None if stage is None else str(stage["status"])


def peak_memory_mb(agent: AgentProcess) -> float:
    """VmHWM: the most that has ever been in memory at once."""
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
