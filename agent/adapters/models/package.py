"""A package as it is used: checked, named by its hash, and laid into a cache where nobody edits it."""

import hashlib
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Final

from agent.adapters.durable import sync_folder
from agent.adapters.models.entries import CARD, MODEL, Entry, folder_entries, opener, zip_entries
from agent.contract.model_card import ModelCard, read_card
from agent.domain.errors import Code, RefusedError, TransientError

KEPT: Final = 8
"""So many packages stay in the cache, those used last."""

_MANIFEST: Final = "manifest"
_CHUNK: Final = 2**20
_ABANDONED_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """What is served from: `model_file` and `goldens`, in the cache. `sha256` is the package's."""

    card: ModelCard
    sha256: str
    model_file: Path
    goldens: tuple[Path, ...]


def is_package(path: Path) -> bool:
    """Whether a path means a package, by its form: a folder, or a zip by its name."""
    return path.suffix.lower() == ".zip" or path.is_dir()


def package_digest(path: Path) -> str:
    """SHA-256 of a package: of the zip file; of a folder, of what `sha256sum` prints for its files by name.

    Raises:
        RefusedError: it cannot be read, or is no package.
    """
    if path.is_dir():
        return _sha256_of_text(_manifest(folder_entries(path)))
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error


def open_package(path: Path, *, cache: Path, sha256: str | None = None) -> ModelPackage:
    """Check a package and lay its files into `cache`, below its hash, where they are not there. Blocks.

    Raises:
        RefusedError: it is not the package with `sha256` (E_HASH), holds what does not belong into one, is
            damaged or too large, or its `model.yaml` is wrong.
        TransientError: the cache cannot be written (E_SPACE, E_FILE).
    """
    digest = package_digest(path)
    if sha256 is not None:
        _check_digest(path, digest, sha256)
    place = cache / digest
    try:
        if not _is_intact(place):
            cache.mkdir(parents=True, exist_ok=True)
            with _entries(path) as entries:
                _lay(entries, place, what=path.name, digest=digest if path.is_dir() else None)
        os.utime(place)
        _prune(cache)
    except OSError as error:
        code = Code.SPACE if error.errno in {ENOSPC, EDQUOT} else Code.FILE
        raise TransientError(
            f"the package {path.name} cannot be laid into {cache}: {error.strerror}", code=code
        ) from error
    return ModelPackage(
        card=read_card((place / CARD).read_bytes(), file=f"{path.name}/{CARD}"),
        sha256=digest,
        model_file=place / MODEL,
        goldens=tuple(sorted(place.glob("golden/*.npz"))),
    )


def examine_package(path: Path, *, sha256: str | None = None) -> ModelCard:
    """What a package says of itself, as far as that is known without laying it anywhere. Blocks.

    Raises:
        RefusedError: as `open_package` does, but for what only reading all of its files tells.
    """
    if sha256 is not None:
        _check_digest(path, package_digest(path), sha256)
    try:
        with _entries(path) as entries:
            card = next(entry for entry in entries if entry.name == CARD)
            with card.open() as file:
                said = file.read(card.size)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    return read_card(said, file=f"{path.name}/{CARD}")


def _check_digest(path: Path, digest: str, wanted: str) -> None:
    if digest != wanted:
        raise RefusedError(
            f"the package {path.name} has the SHA-256 {digest}, not {wanted} as asked for: it is another one",
            code=Code.HASH,
        )


@contextmanager
def _entries(path: Path) -> Iterator[list[Entry]]:
    if path.is_dir():
        yield folder_entries(path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            yield zip_entries(archive, what=path.name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise RefusedError(f"{path.name} is a damaged zip: {error}", code=Code.FILE) from error


def _manifest(entries: Sequence[Entry]) -> str:
    """A line a file, as `sha256sum` prints it, by name."""
    lines = []
    for entry in entries:
        with entry.open() as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        lines.append(f"{digest.hexdigest()}  {entry.name}\n")
    return "".join(lines)


def _lay(entries: Sequence[Entry], place: Path, *, what: str, digest: str | None) -> None:
    """Copy to a folder of another name, and let that take its place: never is half a package there."""
    with tempfile.TemporaryDirectory(prefix=".laying-", dir=place.parent) as laying:
        folder = Path(laying, "package")
        (folder / "golden").mkdir(parents=True)
        for entry in entries:
            _copy(entry, folder / entry.name, what=what)
        manifest = _manifest(folder_entries(folder))
        if digest is not None and _sha256_of_text(manifest) != digest:
            raise RefusedError(f"{what} changed while it was read", code=Code.HASH)
        _write(folder / _MANIFEST, manifest.encode())
        if place.exists():
            place.rename(Path(laying, "damaged"))
        folder.rename(place)
    sync_folder(place.parent)


def _copy(entry: Entry, target: Path, *, what: str) -> None:
    left = entry.size
    with entry.open() as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise RefusedError(f"{what}: {entry.name} is larger than it says", code=Code.SIZE)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if left:
        raise RefusedError(f"{what}: {entry.name} is shorter than it says", code=Code.FILE)


def _is_intact(place: Path) -> bool:
    """Whether what was laid there is still there, byte for byte."""
    try:
        manifest = (place / _MANIFEST).read_text(encoding="utf-8")
        names = [line.split("  ", 1)[1] for line in manifest.splitlines()]
        return _manifest([Entry(name, 0, opener(place / name)) for name in names]) == manifest
    except (OSError, IndexError, UnicodeDecodeError):
        return False


def _prune(cache: Path) -> None:
    """Let go of all but the packages used last, and of what a process left half done that was killed."""
    places = [(each.stat().st_mtime, each) for each in cache.iterdir() if each.is_dir()]
    laid = sorted(((when, each) for when, each in places if not each.name.startswith(".")), reverse=True)
    abandoned = [
        each for when, each in places if each.name.startswith(".") and time.time() - when > _ABANDONED_S
    ]
    for place in (*(each for _, each in laid[KEPT:]), *abandoned):
        shutil.rmtree(place, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
