"""A package written: the same content makes the same bytes, and so the same hash."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from agent.adapters.models.entries import CARD, MODEL, folder_entries
from agent.adapters.models.golden import Golden, write_golden
from agent.contract.model_card import ModelCard, read_card
from agent.contract.yaml_text import read_yaml
from agent.domain.errors import Code, RefusedError

_CHUNK: Final = 2**20


def compose_card(said: Mapping[str, Any]) -> ModelCard:
    """`model.yaml` as it would be read from a file.

    Raises:
        RefusedError: with everything that is wrong with it.
    """
    return read_card(_text(said).encode(), file=CARD)


def read_said(path: Path) -> dict[str, Any]:
    """What a file for `model.yaml` says, which need not be all.

    Raises:
        RefusedError: it cannot be read, or is no mapping in YAML.
    """
    try:
        said = read_yaml(path.read_bytes(), file=str(path)).root.plain()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    if not isinstance(said, dict):
        raise RefusedError(f"{path}: a mapping is wanted, as in {CARD}", code=Code.SCHEMA)
    return said


def write_package(out: Path, *, card: ModelCard, model: Path, goldens: Sequence[Golden]) -> None:
    """Write a folder, or a zip where the name of `out` says so. A zip is replaced, a folder is not.

    Raises:
        RefusedError: `out` cannot be written, is a folder with something in it, or `model` cannot be read.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
            folder = Path(beside, "package")
            (folder / "golden").mkdir(parents=True)
            stated = {"v": card.v, **card.model_dump(mode="json", exclude_defaults=True)}
            (folder / CARD).write_text(_text(stated), encoding="utf-8")
            shutil.copyfile(model, folder / MODEL)
            for golden in goldens:
                write_golden(folder / "golden" / f"{golden.name}.npz", golden)
            if out.suffix.lower() == ".zip":
                zipped = Path(beside, "package.zip")
                _zip(folder, zipped)
                zipped.replace(out)
            else:
                folder.rename(out)
    except OSError as error:
        raise RefusedError(
            f"{error.filename or out} cannot be read or written: {error.strerror}", code=Code.FILE
        ) from error


def _text(said: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(said), sort_keys=False, allow_unicode=True)


def _zip(folder: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in folder_entries(folder):
            # Without a time of its own, so that nothing but the content counts.
            info = zipfile.ZipInfo(entry.name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with entry.open() as source, archive.open(info, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _CHUNK)
    with out.open("rb") as file:
        os.fsync(file.fileno())
