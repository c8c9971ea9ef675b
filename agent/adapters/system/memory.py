"""How much memory the process takes, now and at most."""

from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def memory_mb(*, status: Path = _STATUS) -> float:
    """Resident memory now, in MB of 1024 KiB as ps and htop count; 0 where the kernel does not tell.

    Source: VmRSS in proc_pid_status(5).
    """
    return _field_mb(status, "VmRSS:")


def peak_memory_mb(*, status: Path = _STATUS) -> float:
    """The most resident memory the process ever had, in MB of 1024 KiB; 0 where the kernel does not tell.

    Not getrusage's ru_maxrss: that begins with what the process was before exec.

    Source: VmHWM in proc_pid_status(5).
    """
    return _field_mb(status, "VmHWM:")


def _field_mb(status: Path, field: str) -> float:
    try:
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0
