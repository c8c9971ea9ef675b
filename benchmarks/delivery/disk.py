"""The disk under a folder: what a figure about syncing means without it is nothing."""

import os
import time
from pathlib import Path
from typing import Final

import psutil

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

_SYNCS: Final = 100
_PAGE: Final = bytes(4_096)


def file_system(folder: Path) -> str:
    """The type of the file system that `folder` lies on, or `unknown`."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    place = folder.resolve()
    return next((mounts[above] for above in (place, *place.parents) if above in mounts), "unknown")


def syncs_per_s(folder: Path, *, syncs: int = _SYNCS) -> float:
    """How often a second one page can be appended and be on the disk itself."""
    file = folder / "syncs"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(syncs):
            os.write(descriptor, _PAGE)
            os.fdatasync(descriptor)
        return syncs / (time.perf_counter() - began)
    finally:
        os.close(descriptor)
        file.unlink()
