"""Print what the running agent should have been restarted for, a path a line; nothing if it does not run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RUN_BY = (
    "/opt/nanofleet/current",
    "/opt/nanofleet/current/complete.json",
    "/opt/nanofleet/current/etc/agent.toml",
    "/etc/nanofleet/secrets/*",
    "/etc/nanofleet/keys/*",
    "/etc/systemd/system/nanofleet.service",
)
"""Patterns, with files and with links as such."""

POLICY = "/opt/nanofleet/current/etc/policy.yaml"
READ = Path("/etc/nanofleet/policy.read")
"""Touched when the agent was told to read its policy anew."""

MARGIN_S = 2.0
"""The kernel tells its own beginning in whole seconds."""


def began_s(pid: str) -> float:
    """When a process began, in Unix time. Source: proc_pid_stat(5), field 22."""
    kernel = Path("/proc/stat").read_text()
    boot_s = next(int(line.split()[1]) for line in kernel.splitlines() if line.startswith("btime "))
    # The fields are counted after the name, which may hold blanks.
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return boot_s + ticks / os.sysconf("SC_CLK_TCK")


def newer(pattern: str, than_s: float) -> Iterator[Path]:
    """What was put in its place later. A copy may bring its time of writing along, but not this one."""
    for path in sorted(Path("/").glob(pattern.lstrip("/"))):
        # What claims to come from the future was written under a wrong clock, and would claim it for long.
        if os.path.lexists(path) and than_s + MARGIN_S < path.lstat().st_ctime <= time.time():
            yield path


show = ["systemctl", "show", "nanofleet.service", "--property=MainPID"]
main = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
if main not in {"", "0"}:
    start_s = began_s(main)
    read_s = max(start_s, READ.stat().st_mtime) if READ.exists() else start_s
    late = [path for pattern in RUN_BY for path in newer(pattern, start_s)]
    late += newer(POLICY, read_s)
    sys.stdout.writelines(f"{path}\n" for path in late)
