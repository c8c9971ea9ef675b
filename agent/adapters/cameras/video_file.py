"""A video file as a camera: every frame in decode order, at its time or as fast as it decodes."""

from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from agent.adapters.cameras.container import Container, inspect_container
from agent.adapters.cameras.opencv import open_ffmpeg, read_pixels
from agent.adapters.cameras.timeline import MOST_GAP_S, Timeline
from agent.adapters.pacing import Pacer
from agent.domain.errors import Code, RefusedError

log = structlog.get_logger(__name__)

_IO_TIMEOUT_S: Final = 10.0
_MOST_DAMAGED: Final = 500
"""Frames in a row that do not decode before the rest of the file is given up."""


class VideoFileCamera:
    """Fulfils `ports.FrameSource`. With `pace="clock"` frames come by the file's own stamps.

    Frames that do not decode are left out, counted and logged. A file that ends before its time is an error,
    after all its frames were given.
    """

    def __init__(
        self,
        *,
        path: Path,
        pace: Literal["clock", "fast"] = "clock",
        loop: bool = False,
        pacer: Pacer | None = None,
    ) -> None:
        self._path = path.absolute()  # a relative name such as `http:x` would be an address to FFmpeg
        self._pace = pace
        self._loop = loop
        self._pacer = pacer or Pacer()
        self._pass: _Pass | None = None
        self._due_s = 0.0

    @property
    def patience_s(self) -> float:
        return MOST_GAP_S + _IO_TIMEOUT_S

    def open(self) -> None:
        """Raises: TransientError (the file is not there), RefusedError (no video that can be decoded)."""
        self._due_s = 0.0
        self._pacer.restart()
        self._pass = _Pass(self._path)

    def read(self) -> NDArray[np.uint8] | None:
        """As the port says; RefusedError (E_ENDED) where the file ended before its time."""
        if self._pass is None:
            return None
        pixels = self._pass.read()
        if pixels is None:
            self._pass.check_end()
            ended_s = self._pass.timeline.end_s
            self.close()
            if not self._loop or self._pacer.interrupted:
                return None
            # Opened anew, not sought: seeking is exact in few formats.
            self._due_s += ended_s
            self._pass = _Pass(self._path)
            pixels = self._pass.read()
        if self._pace == "clock" and not self._pacer.wait_until(self._due_s + self._pass.timeline.due_s):
            return None
        return pixels

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        if self._pass is not None:
            self._pass.close()
            self._pass = None


class _Pass:
    """One reading of the file, from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container = inspect_container(path)
        self._capture = open_ffmpeg(path, open_timeout_s=_IO_TIMEOUT_S, read_timeout_s=_IO_TIMEOUT_S)
        if not self._capture.isOpened():
            raise RefusedError(_why_not_opened(path, self._container), code=Code.FILE, path=str(path))
        self._rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self._declared = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._frames = 0
        self._damaged = 0
        self.timeline = Timeline(rate_hz=self._rate_hz)

    def read(self) -> NDArray[np.uint8] | None:
        # At the end of the file as behind a damaged packet nothing comes; behind the latter, more follows.
        for failures in range(self._most_failures()):
            pixels = read_pixels(self._capture)
            if pixels is not None:
                self._frames += 1
                self._damaged += failures
                self.timeline.advance(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                return pixels
        return None

    def check_end(self) -> None:
        """Raises: RefusedError, if this is no regular end."""
        if self._damaged:
            log.warning(
                "camera.frames_damaged",
                path=str(self._path),
                count=self._damaged,
                frames=self._frames,
            )
        if not self._frames:
            message = f"{self._path} holds no frame that can be decoded"
            raise RefusedError(message, code=Code.FILE, path=str(self._path))
        if self._ended_early():
            cause = _cut_off(self._container) if self._container.is_cut_off else "the rest does not decode"
            message = f"{self._path} ended after {self._frames} of {self._declared} frames: {cause}"
            raise RefusedError(message, code=Code.ENDED, path=str(self._path))

    def close(self) -> None:
        self._capture.release()

    def _most_failures(self) -> int:
        left = max(0, self._declared - self._frames)
        return 1 + (min(_MOST_DAMAGED, left) if self._declared else _MOST_DAMAGED)

    def _ended_early(self) -> bool:
        """Whether frames lack that were there when the file was made.

        The declared count may be an estimate (duration times rate) or include hidden frames. So it is
        believed only where the file is cut off, or the stamps, too, end long before the declared duration.
        """
        allowed = max(2.0, 0.02 * self._declared)
        if self._declared - self._frames <= allowed:
            return False
        if self._container.is_cut_off:
            return True
        if self._container.counts_hidden_frames or self._rate_hz <= 0:
            return False
        return self._declared - self.timeline.end_s * self._rate_hz > allowed


def _why_not_opened(path: Path, container: Container) -> str:
    if not container.bytes:
        return f"{path} is empty"
    if container.kind is None:
        return f"{path} is no video file"
    if container.is_cut_off:
        return f"{path} cannot be decoded: {_cut_off(container)}"
    return f"{path} ({container.kind}) holds no video that can be decoded: damaged, or of an unknown codec"


def _cut_off(container: Container) -> str:
    return f"the file is cut off, {container.bytes} of {container.declared_bytes} bytes are there"
