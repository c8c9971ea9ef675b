"""Pictures from files, and frames of clips, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from agent.domain.errors import Code, RefusedError, TransientError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture, uint8 `[height, width, 3]` BGR; `frame` is its number in a clip, else None."""

    path: Path
    frame: int | None
    pixels: NDArray[np.uint8]

    @property
    def width_px(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        return int(self.pixels.shape[0])


def is_picture(path: Path) -> bool:
    """Whether the file holds a picture, by its first bytes and not by its name.

    Raises:
        RefusedError: there is no such file, it is a folder, or it is out of reach.
    """
    try:
        if path.is_dir():
            raise RefusedError("is a folder; name the pictures in it", code=Code.FILE)
        if not path.exists():
            raise RefusedError("there is no such file", code=Code.FILE)
    except OSError as error:  # a folder on the way is closed to this user
        raise RefusedError(f"cannot be read: {error.strerror}", code=Code.FILE) from error
    return cv2.haveImageReader(str(path))


def read_picture(path: Path) -> Shot:
    """A picture file, turned upright where its camera noted how it was held.

    Raises:
        RefusedError: it is unreadable or damaged.
    """
    try:
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise RefusedError(f"cannot be read: {error.strerror}", code=Code.FILE) from error
    except cv2.error as error:
        raise RefusedError(f"is no picture that OpenCV decodes: {error}", code=Code.FILE) from error
    if decoded is None:
        raise RefusedError("is damaged: its picture does not decode", code=Code.FILE)
    return Shot(path, None, decoded.astype(np.uint8, copy=False))


def read_clip(path: Path, frames: frozenset[int] | None) -> Iterator[Shot]:
    """The frames asked for (every one for None), in decode order; the file is read through, never sought.

    Raises:
        RefusedError: it is no clip, or ends before the last frame asked for; what came before was given.
    """
    from agent.adapters.cameras.video_file import VideoFileCamera

    last = max(frames) if frames else None
    number = 0
    try:
        with closing(VideoFileCamera(path=path, pace="fast", loop=False)) as camera:
            camera.open()
            while last is None or number <= last:
                pixels = camera.read()
                if pixels is None:
                    break
                if frames is None or number in frames:
                    yield Shot(path, number, pixels)
                number += 1
    except (RefusedError, TransientError) as error:
        # The camera names the file, as we do ourselves.
        reason = error.message.removeprefix(f"{path.absolute()} ")
        reason = reason if number else f"holds no picture, and {reason}"
        raise RefusedError(reason, code=Code.FILE) from error
    if last is not None and number <= last:
        lacking = ", ".join(str(frame) for frame in sorted(frames or ()) if frame >= number)
        raise RefusedError(f"ends after {number} frames: it has no frame {lacking}", code=Code.FILE)
