"""COCO's form: a JSON with images, annotations and categories, and the pictures beside it.

A box is x, y of its upper left corner, width, height, in pixels.

Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.domain.errors import Code, RefusedError
from agent.workbench.datasets import Dataset, Sample


def fits(document: Any) -> bool:
    """Whether it is of this form, by its keys."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= document.keys()


def read(path: Path, document: Any) -> Dataset:
    """The dataset that `path`, read as `document`, tells of.

    Raises:
        RefusedError: the document is of another form.
    """
    if not fits(document):
        raise RefusedError(
            f"{path} is no set of annotations: an object with images, annotations and categories is wanted",
            code=Code.FILE,
        )
    try:
        names = {int(one["id"]): str(one["name"]) for one in document["categories"]}
        pictures = {one["id"]: str(one["file_name"]) for one in document["images"]}
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{path}: a category without id and name, or an image without id and file_name "
            f"({type(error).__name__} {error})",
            code=Code.FILE,
        ) from error
    problems: list[str] = []
    by_picture = _by_picture(document["annotations"], pictures=pictures, names=names, problems=problems)
    samples = []
    for key, name in pictures.items():
        place = _find(path, name)
        if place is None:
            problems.append(f"{name} is annotated, but not there")
            continue
        samples.append(_sample(place, by_picture.get(key, [])))
    return Dataset(names, tuple(samples), tuple(problems))


def _by_picture(
    annotations: Any, *, pictures: Mapping[Any, str], names: Mapping[int, str], problems: list[str]
) -> dict[Any, list[tuple[list[float], int, bool]]]:
    found: dict[Any, list[tuple[list[float], int, bool]]] = {}
    for index, one in enumerate(annotations):
        try:
            x, y, width, height = (float(side) for side in one["bbox"])
            key, category = one["image_id"], int(one["category_id"])
        except (KeyError, TypeError, ValueError):
            problems.append(f"annotation {index} has no bbox, image_id and category_id")
            continue
        if key not in pictures or category not in names:
            problems.append(f"annotation {index} is of an image or a category that is not listed")
        elif not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
            problems.append(f"annotation {index} has a box without area")
        else:
            box = [x, y, x + width, y + height]
            found.setdefault(key, []).append((box, category, bool(one.get("iscrowd", 0))))
    return found


def _sample(place: Path, objects: Sequence[tuple[list[float], int, bool]]) -> Sample:
    return Sample(
        path=place,
        boxes=np.array([box for box, _, _ in objects], np.float64).reshape(-1, 4),
        class_id=np.array([category for _, category, _ in objects], np.int32),
        crowd=np.array([crowd for _, _, crowd in objects], np.bool_),
        fractions=False,
    )


def _find(annotations: Path, name: str) -> Path | None:
    """Beside the JSON, in an images/ near it, or in the folder that instances_NAME.json is called after."""
    folder = annotations.parent
    split = annotations.stem.removeprefix("instances_")
    roots = [folder, folder.parent] if folder.name == "annotations" else [folder]
    for root in roots:
        for place in (root, root / "images", root / split, root / "images" / split):
            if (place / name).is_file():
                return place / name
    return None
