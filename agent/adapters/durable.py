"""Files that a loss of power leaves as they were or as they became, and never in between."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Let `content` be what is at `path`, on the disk itself.

    One writer at a time: the new file is written beside the old one, always under the same name, before it
    takes its place.

    Raises:
        OSError: what was at `path` is still there.
    """
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    install_file(beside, path)


def install_file(ready: Path, path: Path) -> None:
    """Let `ready`, a synced file of the same file system, take the place of `path`."""
    ready.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk itself: what was renamed there stays so."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
