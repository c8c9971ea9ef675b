"""Print what the running agent should have been restarted for, a path a line; nothing if it does not run."""

import os
import subprocess
import sys
from pathlib import Path

FILES = (
    "/opt/nanofleet/current",
    "/etc/nanofleet/agent.toml",
    "/etc/nanofleet/secrets/node.key",
    "/etc/systemd/system/nanofleet.service",
)
MARGIN_S = 2.0
"""The kernel tells its own beginning in whole seconds."""

show = ["systemctl", "show", "nanofleet.service", "--property=MainPID"]
pid = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
if pid not in {"", "0"}:
    kernel = Path("/proc/stat").read_text()
    boot_s = next(int(line.split()[1]) for line in kernel.splitlines() if line.startswith("btime "))
    # Source: proc_pid_stat(5), field 22; the fields are counted after the name, which may hold blanks.
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    began_s = boot_s + ticks / os.sysconf("SC_CLK_TCK")
    for path in map(Path, FILES):
        if os.path.lexists(path) and path.lstat().st_mtime > began_s + MARGIN_S:
            sys.stdout.write(f"{path}\n")
