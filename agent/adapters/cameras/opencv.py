"""cv2.VideoCapture over FFmpeg, as file and network cameras use it.

OpenCV takes some of its settings from environment variables, and changing the environment is not safe beside
C code of other threads that reads it. So it is set here once, at import, while the process is young.
"""

import os
import threading
import time
from pathlib import Path
from typing import Final, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.domain.errors import Code, TransientError

_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

for _name, _value in {
    # Otherwise a lock is held while a capture opens: a dead camera keeps the others waiting for its timeout.
    "OPENCV_FFMPEG_IS_THREAD_SAFE": "1",
    # AV_LOG_QUIET: FFmpeg prints addresses, with the credentials in them.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # Present from the start: a variable that exists is later replaced in place, which readers survive.
    _OPTIONS: "",
}.items():
    os.environ.setdefault(_name, _value)
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # for the same reason

_SETTLES_S: Final = 1.0
"""OpenCV reads the options first thing when a capture opens; by then surely even on a busy machine."""

_turn = threading.Lock()
_in_force = (os.environ[_OPTIONS], 0.0)


class VideoCapture(Protocol):
    """The part of cv2.VideoCapture that cameras use."""

    def isOpened(self) -> bool: ...  # noqa: N802

    def read(self) -> object: ...

    def get(self, prop: int, /) -> float: ...

    def set(self, prop: int, value: float, /) -> bool: ...

    def release(self) -> None: ...


def use_options(options: str) -> None:
    """Let FFmpeg have these options (``name;value|name;value``) in the capture that this thread opens next.

    There is one set of options for the process. Cameras with the same ones never wait; others follow each
    other at a distance of one second. No lock is held while a capture opens.
    """
    global _in_force  # noqa: PLW0603 as the environment is
    with _turn:
        current, used_s = _in_force
        if current != options:
            time.sleep(max(0.0, used_s + _SETTLES_S - time.monotonic()))
            os.environ[_OPTIONS] = options
        _in_force = (options, time.monotonic())


def open_ffmpeg(what: str | Path, *, open_timeout_s: float, read_timeout_s: float) -> cv2.VideoCapture:
    """A capture, perhaps not opened. The backend is named, for only then do the timeouts apply.

    One decoding thread: more would hold back one picture each, and compete with inference for the cores.
    """
    return cv2.VideoCapture(
        str(what),
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ],
    )


def read_pixels(capture: VideoCapture) -> NDArray[np.uint8] | None:
    """The next picture as ports.FrameSource wants it; None where none came: the end, a timeout or damage.

    Raises:
        TransientError: what came is no BGR picture.
    """
    try:
        done, pixels = cast("tuple[bool, NDArray[np.uint8] | None]", capture.read())
    except cv2.error as error:
        raise TransientError(f"a frame could not be converted: {error.err}", code=Code.FRAME) from error
    if not done or pixels is None:
        return None
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise TransientError(
            f"a frame is {pixels.dtype} {list(pixels.shape)}; uint8 [height, width, 3] is wanted",
            code=Code.FRAME,
        )
    return np.ascontiguousarray(pixels)
