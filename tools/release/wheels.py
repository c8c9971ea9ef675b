"""What the file of a wheel says of itself."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path
from typing import Final

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tools.release.locks import Pin
from tools.release.programs import ReleaseError

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Wheel:
    """One file; it must not change while this is in use."""

    path: Path
    name: str
    version: str
    tags: frozenset[Tag]

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return sha256_of(self.path)

    @property
    def pin(self) -> Pin:
        """This very file, and no other of its version."""
        return Pin(self.name, self.version, frozenset([self.sha256]))

    def metadata(self, field: str) -> str:
        """A field of its METADATA, such as Requires-Python; empty if it has none."""
        with zipfile.ZipFile(self.path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = HeaderParser().parsestr(archive.read(name).decode())
        return str(headers.get(field, ""))


def read_wheel(path: Path) -> Wheel:
    """What a wheel's name says.

    Raises:
        ReleaseError: It is no wheel's name.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise ReleaseError(f"{path}: {error}") from error
    return Wheel(path, name, str(version), frozenset(tags))


def sha256_of(path: Path) -> str:
    """Of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
