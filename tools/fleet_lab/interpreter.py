"""A stand-in for the relocatable interpreter that a node with an old Python is given."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Final

from tools.fleet_lab.place import LabError

_MODIFIED_S: Final = 1_580_601_600


def interpreter_archive(image: Path) -> Path:
    """A tar with `python/bin/python3` and its library, taken from the image; made once.

    Debian's own build finds its library beside itself, wherever it lies, as the real archives do.

    Raises:
        LabError: the image has no Python.
    """
    archive = image.with_name(f"{image.name}-python.tar")
    if archive.exists():
        return archive
    programs = sorted((image / "usr/bin").glob("python3.[0-9]*[0-9]"))
    if not programs:
        raise LabError(f"{image} has no Python to make a stand-in of")
    program = programs[-1]
    making = archive.with_suffix(".making")
    with tarfile.open(making, "w") as tar:
        tar.add(program, f"python/bin/{program.name}", filter=_plain)
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, program.name, _MODIFIED_S
        tar.addfile(link)
        tar.add(image / "usr/lib" / program.name, f"python/lib/{program.name}", filter=_plain)
    making.rename(archive)
    return archive


def sha256_of(file: Path) -> str:
    """In hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
