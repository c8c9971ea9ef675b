"""How much memory this process may still take before the kernel ends it: the board's, and its cgroups'."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.system.memory import memory_mb

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_MIB: Final = 1 << 20
_V1_UNLIMITED: Final = (1 << 63) - mmap.PAGESIZE
"""What version 1 says where there is no limit.

Source: kernel documentation, admin-guide/cgroup-v1/memory.rst.
"""


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """`left_mb` may still be taken, of `total_mb`, before `by` is met; in MB of 1024 KiB."""

    by: str
    total_mb: float
    left_mb: float


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """The nearest bound, and what this process has resident already."""

    bound: MemoryBound
    taken_mb: float

    @property
    def most_mb(self) -> float:
        """What this process may come to have resident."""
        return self.taken_mb + self.bound.left_mb


def read_limits(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> MemoryLimits | None:
    """What bounds this process first; None where the kernel does not tell."""
    bounds = [*_board(proc), *_version_2(proc, cgroups), *_version_1(proc, cgroups)]
    if not bounds:
        return None
    nearest = min(bounds, key=lambda bound: bound.left_mb)
    return MemoryLimits(nearest, memory_mb(status=proc / "self" / "status"))


def _board(proc: Path) -> Iterator[MemoryBound]:
    """Source: MemAvailable in proc_meminfo(5): what can be had without swapping."""
    fields = _fields(proc / "meminfo")
    total, available = fields.get("MemTotal:"), fields.get("MemAvailable:")
    if total is not None and available is not None:
        yield MemoryBound("the memory of this board", total / 1024, available / 1024)


def _version_2(proc: Path, cgroups: Path) -> Iterator[MemoryBound]:
    """The limits of this process's cgroup and of every one above it.

    Source: kernel documentation, admin-guide/cgroup-v2.rst, "Memory Interface Files".
    """
    for folder in _folders(proc, cgroups, controller=""):
        limits = [_number(folder / name) for name in ("memory.max", "memory.high")]
        found = [limit for limit in limits if limit is not None]
        used = _number(folder / "memory.current")
        if found and used is not None:
            yield _bound(folder, min(found), used, _fields(folder / "memory.stat").get("inactive_file", 0))


def _version_1(proc: Path, cgroups: Path) -> Iterator[MemoryBound]:
    """Source: kernel documentation, admin-guide/cgroup-v1/memory.rst."""
    for folder in _folders(proc, cgroups / "memory", controller="memory"):
        limit = _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.usage_in_bytes")
        if limit is not None and limit < _V1_UNLIMITED and used is not None:
            stat = _fields(folder / "memory.stat")
            yield _bound(folder, limit, used, stat.get("total_inactive_file", 0))


def _bound(folder: Path, limit: int, used: int, droppable: int) -> MemoryBound:
    """Pages of files that nobody used lately are dropped before anything is ended."""
    left = max(0, limit - max(0, used - droppable))
    return MemoryBound(f"the limit of {folder}", limit / _MIB, left / _MIB)


def _folders(proc: Path, root: Path, *, controller: str) -> Iterator[Path]:
    """From this process's cgroup up to `root`; in a container the path is the host's, and only root is there.

    Source: /proc/pid/cgroup in cgroups(7): hierarchy, controllers, path.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            own = root / path.lstrip("/")
            if not own.is_dir():
                own = root
            yield own
            yield from (above for above in own.parents if above.is_relative_to(root))


def _number(file: Path) -> int | None:
    """None where there is no file, or it says `max`."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _fields(file: Path) -> dict[str, int]:
    """Lines of a name and a number; other lines are left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {each[0]: int(each[1]) for each in words if len(each) >= 2 and each[1].isdigit()}
