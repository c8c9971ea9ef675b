"""YOLO's form: a data.yaml with names and folders, and a text file of labels for each picture.

A label is `class cx cy width height` or `class x1 y1 x2 y2 x3 y3 …` (an outline), in fractions of the
picture's sides. A picture without a file of labels shows nothing.

Source: Ultralytics, "Object Detection Datasets Overview".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import yaml

from agent.domain.errors import Code, RefusedError
from agent.workbench.datasets import Dataset, Sample

_SPLITS: Final = ("val", "test", "train")


def read(path: Path, split: str | None) -> Dataset:
    """The dataset that a data.yaml tells of.

    Raises:
        RefusedError: it is no such file, or the split is not there.
    """
    document = _document(path)
    names = _names(path, document)
    root = path.parent / str(document.get("path") or "")
    if not root.is_dir():
        # Trainers resolve `path` against a folder of their own; the file's own folder is what moves with it.
        root = path.parent
    chosen = split or next((name for name in _SPLITS if document.get(name)), None)
    if chosen is None or not document.get(chosen):
        there = ", ".join(name for name in _SPLITS if document.get(name)) or "none"
        raise RefusedError(f"{path} has no split {chosen or 'val'}; there is {there}", code=Code.FILE)
    problems: list[str] = []
    samples = [
        _sample(picture, names=names, problems=problems)
        for picture in _pictures(path, root, document[chosen], problems)
    ]
    return Dataset(names, tuple(samples), tuple(problems))


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except (yaml.YAMLError, ValueError) as error:
        raise RefusedError(f"{path} is no YAML: {' '.join(str(error).split())}", code=Code.FILE) from error
    if not isinstance(document, dict) or "names" not in document:
        raise RefusedError(f"{path} is no dataset: names and val, test or train are wanted", code=Code.FILE)
    return document


def _names(path: Path, document: dict[str, Any]) -> dict[int, str]:
    names = document["names"]
    try:
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(key): str(name) for key, name in pairs}
    except (TypeError, ValueError) as error:
        raise RefusedError(
            f"{path}: names is neither a list nor a mapping of numbers to names", code=Code.FILE
        ) from error


def _pictures(path: Path, root: Path, named: Any, problems: list[str]) -> Iterator[Path]:
    """Of folders, or of text files with a picture a line."""
    for one in named if isinstance(named, list) else [named]:
        place = root / str(one)
        # Some exporters write ../train/images for what lies beside the file.
        if not place.exists():
            place = path.parent / str(one).removeprefix("../")
        if place.is_dir():
            yield from sorted(file for file in place.rglob("*") if _is_picture(file))
        elif place.suffix == ".txt" and place.is_file():
            for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
                picture = root / line.strip()
                if line.strip() and picture.is_file():
                    yield picture
                elif line.strip():
                    problems.append(f"{line.strip()} is listed, but not there")
        else:
            problems.append(f"{one} is neither a folder of pictures nor a list of them")


def _is_picture(file: Path) -> bool:
    # By name: one that is damaged is to be told, not passed over.
    return file.is_file() and cv2.haveImageWriter(file.name)


def _sample(picture: Path, *, names: dict[int, str], problems: list[str]) -> Sample:
    boxes, classes = [], []
    file = _labels_of(picture)
    if file.is_file():
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            read_label = _label(line, names)
            if isinstance(read_label, str):
                problems.append(f"{file.name}:{number}: {read_label}")
            else:
                classes.append(read_label[0])
                boxes.append(read_label[1])
    return Sample(
        path=picture,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        class_id=np.array(classes, np.int32),
        crowd=np.zeros(len(boxes), np.bool_),
        fractions=True,
    )


def _labels_of(picture: Path) -> Path:
    """`…/images/…/NAME.jpg` has its labels in `…/labels/…/NAME.txt`; elsewhere beside it."""
    parts = list(picture.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _label(line: str, names: dict[int, str]) -> tuple[int, list[float]] | str:
    """The class and the box x1, y1, x2, y2 in fractions, or what is wrong with the line."""
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        return "is no line of numbers"
    if not np.isfinite(numbers).all():
        return "holds a number that is none, or infinite"
    sides = np.array(numbers[1:])
    if not numbers[0].is_integer() or int(numbers[0]) not in names:
        return f"class {line.split(maxsplit=1)[0]} is not among the names"
    if len(sides) == 4:
        low, high = sides[:2] - sides[2:] / 2, sides[:2] + sides[2:] / 2
    elif len(sides) >= 6 and len(sides) % 2 == 0:
        points = sides.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        return f"has {len(numbers)} numbers; a class and 4, or the corners of an outline, are wanted"
    # Trainers write a hair beyond the border; a box in pixels is another matter.
    if low.min() < -0.01 or high.max() > 1.01 or (high <= low).any():
        return "its box is not within 0..1 of the picture"
    return int(numbers[0]), [*np.clip(low, 0, 1).tolist(), *np.clip(high, 0, 1).tolist()]
