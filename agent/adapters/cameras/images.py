"""A folder of pictures as a camera, in the order in which people count."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from agent.adapters.pacing import Pacer
from agent.domain.errors import Code, RefusedError, TransientError

log = structlog.get_logger(__name__)

_SUFFIXES: Final = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
_IO_TIMEOUT_S: Final = 10.0


class ImageFolderCamera:
    """Fulfils `ports.FrameSource`: one picture every `every_s` seconds, 0 for as fast as possible.

    Whatever a picture is (grey, with alpha, 16 bits), a frame is BGR with 8 bits, turned upright as its EXIF
    says. A file that does not decode is left out, and logged once. With `loop` the folder is listed anew at
    each turn.
    """

    def __init__(self, *, path: Path, every_s: float, loop: bool = False, pacer: Pacer | None = None) -> None:
        self._path = path
        self._every_s = every_s
        self._loop = loop
        self._pacer = pacer or Pacer()
        self._broken: set[Path] = set()
        self._pictures: Iterator[NDArray[np.uint8]] = iter(())
        self._given = 0

    @property
    def patience_s(self) -> float:
        return self._every_s + _IO_TIMEOUT_S

    def open(self) -> None:
        """Raises: TransientError (no folder, or no pictures in it yet), RefusedError (it may not be read)."""
        self._given = 0
        self._pacer.restart()
        first_turn = self._list()
        self._pictures = self._turns(first_turn)

    def read(self) -> NDArray[np.uint8] | None:
        pixels = next(self._pictures, None)
        if pixels is None:
            return None
        if not self._pacer.wait_until(self._given * self._every_s):
            return None
        self._given += 1
        return pixels

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        self._pictures = iter(())

    def _turns(self, paths: list[Path]) -> Iterator[NDArray[np.uint8]]:
        while True:
            given = 0
            for path in paths:
                pixels = self._decode(path)
                if pixels is not None:
                    given += 1
                    yield pixels
            if not given:
                raise RefusedError(
                    f"none of the {len(paths)} pictures in {self._path} can be decoded", code=Code.FILE
                )
            if not self._loop:
                return
            paths = self._list()

    def _list(self) -> list[Path]:
        try:
            paths = [path for path in self._path.iterdir() if _is_picture(path)]
        except FileNotFoundError as error:
            raise TransientError(f"{self._path} is not there", code=Code.FILE) from error
        except NotADirectoryError as error:
            raise RefusedError(f"{self._path} is no folder", code=Code.FILE) from error
        except OSError as error:
            raise RefusedError(f"{self._path} cannot be read: {error.strerror}", code=Code.FILE) from error
        if not paths:
            raise TransientError(f"there is no picture in {self._path}", code=Code.FILE)
        return sorted(paths, key=lambda path: natural_key(path.name))

    def _decode(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            reason = "it does not decode"
        except OSError as error:
            decoded, reason = None, error.strerror or "it cannot be read"
        except cv2.error as error:
            decoded, reason = None, error.err
        if decoded is not None:
            return np.ascontiguousarray(decoded, np.uint8)
        if path not in self._broken:
            self._broken.add(path)
            log.warning("camera.picture_skipped", path=str(path), reason=reason, skipped=len(self._broken))
        return None


def natural_key(name: str) -> list[str | int]:
    """Sorts numbers within names by their value; text without regard to case.

    >>> sorted(["b10.png", "B9.png", "a.png"], key=natural_key)
    ['a.png', 'B9.png', 'b10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
