"""Which form a dataset has, by what lies there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.domain.errors import Code, RefusedError
from agent.workbench.datasets import Dataset, coco_form, yolo_form


def read_dataset(path: Path, *, split: str | None = None) -> Dataset:
    """A folder, or the file in it that tells of the pictures: an instances JSON, or YOLO's data.yaml.

    `split`: which of a YOLO dataset's; None for `val`, else `test`, else `train`.

    Raises:
        RefusedError: there is no dataset, or nothing of it can be used.
    """
    if not path.exists():
        raise RefusedError(f"{path}: there is no such dataset", code=Code.FILE)
    dataset = _read(path, split)
    if not dataset.samples:
        said = f": {dataset.problems[0]}" if dataset.problems else ""
        raise RefusedError(f"{path} holds no picture that can be used{said}", code=Code.FILE)
    if not any(len(sample.boxes) for sample in dataset.samples):
        said = f": {dataset.problems[0]}" if dataset.problems else ""
        raise RefusedError(f"{path} names no object in any picture{said}", code=Code.FILE)
    return dataset


def _read(path: Path, split: str | None) -> Dataset:
    if path.is_file():
        if path.suffix in {".yaml", ".yml"}:
            return yolo_form.read(path, split)
        return coco_form.read(path, _json(path))
    listed = [path / name for name in ("data.yaml", "data.yml", "dataset.yaml")]
    for described in listed:
        if described.is_file():
            return yolo_form.read(described, split)
    instances = [
        (file, document)
        for file in sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])
        if coco_form.fits(document := _json(file))
    ]
    if len(instances) > 1:
        names = ", ".join(str(file.relative_to(path)) for file, _ in instances)
        raise RefusedError(f"{path} holds several sets of annotations, {names}: name one", code=Code.FILE)
    if instances:
        return coco_form.read(*instances[0])
    raise RefusedError(
        f"{path} is no dataset: neither a data.yaml (YOLO) nor a JSON with images, annotations and "
        "categories (COCO) lies in it or in its annotations/",
        code=Code.FILE,
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except ValueError as error:
        raise RefusedError(f"{path} is no JSON: {error}", code=Code.FILE) from error
