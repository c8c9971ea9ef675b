"""Golden results: what a model found in pictures once, kept to be found again.

Two forms. JSON, for people and other tools: `{"reference": …, "images": {name: [object, …]},
"frames_of_CLIP": {number: [object, …]}}`, each object with `class`, `confidence`, `xyxy` in pixels and, for
poses, `keypoints` of `[x, y, confidence]`; pictures and clips lie beside it or where one says. NPZ, for
machines: pictures and results at full precision in one file, which needs nothing beside it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.domain.detections import Detections
from agent.domain.errors import Code, RefusedError
from agent.workbench.pictures import read_one
from agent.workbench.shots import read_clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLIP: Final = "frames_of_"
_FORMAT: Final = "nanofleet golden 1"


@dataclass(frozen=True, slots=True)
class Expected:
    """One picture, uint8 `[height, width, 3]` BGR, and what is to be found in it.

    `outputs`: the raw ones, where the reference gives them.
    """

    name: str
    pixels: NDArray[np.uint8]
    detections: Detections
    outputs: Sequence[NDArray[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """`reference`: who found it, in words."""

    reference: str
    pictures: tuple[Expected, ...]


def read_golden(path: Path, *, beside: Sequence[Path]) -> Golden:
    """Golden results; pictures of the JSON form are looked for in `beside` and then next to the file.

    Raises:
        RefusedError: the file or a picture is missing, or it is no golden file.
    """
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not isinstance(document.get("images", {}), dict):
            raise _no_golden(path, "an object with images is wanted")
        found = [*_images(document, path, beside), *_frames(document, path, beside)]
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read: {error.strerror or error}; golden results are wanted", code=Code.FILE
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _no_golden(path, f"{type(error).__name__} {error}") from error
    if not found:
        raise _no_golden(path, "it holds no picture")
    return Golden(str(document.get("reference", path.name)), tuple(found))


def write_golden(path: Path, golden: Golden) -> None:
    """The NPZ form, with the pictures.

    Raises:
        RefusedError: it cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    entries = []
    for index, one in enumerate(golden.pictures):
        found = one.detections
        entries.append({"name": one.name, "keypoints": found.keypoints is not None})
        arrays[f"pixels_{index}"] = one.pixels
        arrays[f"boxes_{index}"] = found.boxes
        arrays[f"confidence_{index}"] = found.confidence
        arrays[f"class_id_{index}"] = found.class_id
        if found.keypoints is not None:
            arrays[f"keypoints_{index}"] = found.keypoints
    about = {"format": _FORMAT, "reference": golden.reference, "pictures": entries}
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}", code=Code.FILE) from error


def _read_npz(path: Path) -> Golden:
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        if about["format"] != _FORMAT:
            raise _no_golden(path, f"its format is {about['format']!r}, not {_FORMAT!r}")
        pictures = tuple(
            Expected(
                name=entry["name"],
                pixels=arrays[f"pixels_{index}"],
                detections=Detections(
                    boxes=arrays[f"boxes_{index}"],
                    confidence=arrays[f"confidence_{index}"],
                    class_id=arrays[f"class_id_{index}"],
                    keypoints=arrays[f"keypoints_{index}"] if entry["keypoints"] else None,
                ),
            )
            for index, entry in enumerate(about["pictures"])
        )
    return Golden(about["reference"], pictures)


def _images(document: dict[str, Any], path: Path, beside: Sequence[Path]) -> Iterator[Expected]:
    for name, objects in document.get("images", {}).items():
        yield Expected(name, read_one(_find(name, path, beside)), _detections(objects))


def _frames(document: dict[str, Any], path: Path, beside: Sequence[Path]) -> Iterator[Expected]:
    for key, by_number in document.items():
        if not key.startswith(_CLIP):
            continue
        name = key.removeprefix(_CLIP)
        wanted = {int(number): objects for number, objects in by_number.items()}
        for shot in read_clip(_find(name, path, beside), frozenset(wanted)):
            if shot.frame is not None:
                yield Expected(f"{name}#{shot.frame}", shot.pixels, _detections(wanted[shot.frame]))


def _find(name: str, path: Path, beside: Sequence[Path]) -> Path:
    """The file of that name: one of `beside`, in a folder of `beside`, or next to the golden file."""
    candidates = [place / name if place.is_dir() else place for place in beside] + [path.parent / name]
    for candidate in candidates:
        if candidate.name == Path(name).name and candidate.is_file():
            return candidate
    raise RefusedError(
        f"{path.name} tells of {name}, which is not there: name it, or its folder, with --images",
        code=Code.FILE,
    )


def _detections(objects: list[dict[str, Any]]) -> Detections:
    poses = [one["keypoints"] for one in objects if "keypoints" in one]
    return Detections(
        boxes=np.array([one["xyxy"] for one in objects], np.float64).reshape(-1, 4),
        confidence=np.array([one["confidence"] for one in objects], np.float32),
        class_id=np.array([one["class"] for one in objects], np.int32),
        keypoints=np.array(poses, np.float64) if poses else None,
    )


def _no_golden(path: Path, why: str) -> RefusedError:
    return RefusedError(f"{path} holds no golden results: {why}", code=Code.FILE)
