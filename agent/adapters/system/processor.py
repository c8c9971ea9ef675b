"""Which processor this is, and how much of it this process may use."""

import os
import platform
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def processor_name(*, root: Path = _ROOT) -> str:
    """As the kernel names it: the processor on x86, the board where that is all it tells.

    Source: proc_cpuinfo(5); the devicetree specification, 2.3.2 `model` (ends with a NUL).
    """
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return _text(root / "proc/device-tree/model").strip("\0 \n") or platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
