"""The files of a package, in a folder or a zip: only those that belong there, and bounded."""

import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent.domain.errors import Code, RefusedError

CARD: Final = "model.yaml"
MODEL: Final = "model.onnx"

MOST_ENTRIES: Final = 64
MOST_BYTES: Final = 2**31
"""Of all files together, unpacked; an ONNX file of its own cannot be larger."""

_LARGEST: Final = (
    (re.compile(r"model\.onnx"), 2**31),
    (re.compile(r"model\.yaml"), 65_536),
    (re.compile(r"golden/[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.npz"), 2**26),
    (re.compile(r"(LICEN[CS]E|NOTICE|README)(\.txt|\.md)?"), 2**20),
)
"""What may be in a package, and how large each may be. No other name, so none that climbs, is let in."""

_ENCRYPTED: Final = 0x1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a package: its name there, its size as stated, and how it is opened for reading."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def folder_entries(folder: Path) -> list[Entry]:
    """Of a package that lies unpacked, by name.

    Raises:
        RefusedError: something is in it that does not belong there, or it is too large.
    """
    try:
        return _checked(_walk(folder, ""), what=folder.name)
    except OSError as error:
        raise RefusedError(f"{folder} cannot be read: {error.strerror}", code=Code.FILE) from error


def zip_entries(archive: zipfile.ZipFile, *, what: str) -> list[Entry]:
    """Of a package in a zip, by name.

    Raises:
        RefusedError: something is in it that does not belong there, or it is too large.
    """
    return _checked((_zipped(archive, info, what) for info in _members(archive)), what=what)


def opener(path: Path) -> Callable[[], IO[bytes]]:
    """How a file is opened for reading, later."""
    return lambda: path.open("rb")


def _walk(folder: Path, below: str) -> Iterator[Entry]:
    for path in folder.iterdir():
        name = f"{below}{path.name}"
        status = path.lstat()
        if name == "golden" and stat.S_ISDIR(status.st_mode):
            yield from _walk(path, "golden/")
        elif not stat.S_ISREG(status.st_mode):
            raise RefusedError(
                f"{folder.name}: {name} is a link, a folder or a device; a package has plain files only",
                code=Code.FILE,
            )
        else:
            yield Entry(name, status.st_size, opener(path))


def _members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    return (info for info in archive.infolist() if info.filename != "golden/")


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> Entry:
    if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
        raise RefusedError(
            f"{what}: {info.filename[:80]!r} is a link or a device; a package has plain files only",
            code=Code.FILE,
        )
    if info.flag_bits & _ENCRYPTED:
        raise RefusedError(f"{what}: {info.filename[:80]!r} is encrypted", code=Code.FILE)
    return Entry(info.filename, info.file_size, lambda: archive.open(info))


def _checked(entries: Iterable[Entry], *, what: str) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        largest = next((most for form, most in _LARGEST if form.fullmatch(entry.name)), None)
        if largest is None:
            raise RefusedError(
                f"{what}: {entry.name[:80]!r} does not belong into a package; {MODEL}, {CARD}, golden/*.npz, "
                "LICENSE, NOTICE and README do, at its top",
                code=Code.FILE,
            )
        if entry.size > largest:
            raise RefusedError(
                f"{what}: {entry.name} has {entry.size} bytes; at most {largest} are allowed", code=Code.SIZE
            )
        if entry.name in found:
            raise RefusedError(f"{what}: {entry.name} is in it twice", code=Code.FILE)
        found[entry.name] = entry
        if len(found) > MOST_ENTRIES or sum(each.size for each in found.values()) > MOST_BYTES:
            raise RefusedError(
                f"{what}: more than {MOST_ENTRIES} files or {MOST_BYTES} bytes", code=Code.SIZE
            )
    for needed in (CARD, MODEL):
        if needed not in found:
            raise RefusedError(f"{what}: a package needs {needed} at its top", code=Code.FILE)
    return [found[name] for name in sorted(found)]
