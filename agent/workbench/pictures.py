"""The pictures that a model is tried on: those given, else rendered ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2

from agent.adapters.cameras.conveyor import ConveyorScene
from agent.domain.errors import Code, RefusedError
from agent.workbench.shots import is_picture, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMATS: Final = ((640, 480), (1280, 720))
_RENDERED: Final = 4
_SEED: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class NamedPicture:
    """`pixels`: uint8 `[height, width, 3]`, BGR. `name`: unlike any other's of the same command."""

    name: str
    pixels: NDArray[np.uint8]


def read_one(path: Path) -> NDArray[np.uint8]:
    """A picture file, uint8 `[height, width, 3]` BGR.

    Raises:
        RefusedError: there is none, or it is no picture; the message names it.
    """
    try:
        if is_picture(path):
            return read_picture(path).pixels
    except RefusedError as error:
        raise RefusedError(f"{path}: {error.message}", code=error.code) from error
    raise RefusedError(f"{path} is no picture that OpenCV reads", code=Code.FILE)


def collect(paths: Sequence[Path]) -> list[NamedPicture]:
    """The pictures that the paths name: files, and folders' pictures in the order of their names.

    Without any path, four rendered ones, half 640x480 and half 1280x720, always the same.

    Raises:
        RefusedError: a file is no picture, or a folder has none.
    """
    if not paths:
        return list(_rendered())
    files = [path for given in paths for path in _files(given)]
    shared = {name for name, count in Counter(path.name for path in files).items() if count > 1}
    return [NamedPicture(str(path) if path.name in shared else path.name, read_one(path)) for path in files]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and cv2.haveImageReader(str(file)))
    if not found:
        raise RefusedError(f"{path}: there is no picture in this folder", code=Code.FILE)
    return found


def _rendered() -> Iterator[NamedPicture]:
    for index in range(_RENDERED):
        width_px, height_px = _FORMATS[index % len(_FORMATS)]
        scene = ConveyorScene(width_px=width_px, height_px=height_px, seed=_SEED + index, shuffled=True)
        yield NamedPicture(f"rendered-{index}", scene.render(index))
