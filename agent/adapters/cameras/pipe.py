"""Raw frames from a command's standard output: whatever decodes video can be a camera, and crash alone."""

import threading
from collections.abc import Sequence
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.child_process import ChildProcess

PixelFormat = Literal["bgr24", "rgb24", "i420", "nv12"]

_CONVERSIONS: Final = {
    "rgb24": cv2.COLOR_RGB2BGR,
    "i420": cv2.COLOR_YUV2BGR_I420,
    "nv12": cv2.COLOR_YUV2BGR_NV12,
}


class PipeCamera:
    """Fulfils `ports.FrameSource`. The command writes frames of one size, without padding between them.

    It sets the pace. A camera has no end: a command that ends, even with status 0, has failed. Each frame has
    `patience_s`, the first one together with the command's start.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        width_px: int,
        height_px: int,
        pixel_format: PixelFormat = "bgr24",
        patience_s: float = 10.0,
    ) -> None:
        """Raises: ValueError (i420 or nv12 with an odd side)."""
        if pixel_format in {"i420", "nv12"} and (width_px % 2 or height_px % 2):
            raise ValueError(f"{pixel_format} of {width_px}x{height_px} px: both sides must be even")
        self._command = tuple(command)
        self._format = pixel_format
        self._shape = (
            (height_px * 3 // 2, width_px) if pixel_format in {"i420", "nv12"} else (height_px, width_px, 3)
        )
        self._patience_s = patience_s
        self._child: ChildProcess | None = None
        self._interrupted = threading.Event()

    @property
    def patience_s(self) -> float:
        return self._patience_s

    def open(self) -> None:
        """As the port says. That the command works shows only with the first frame."""
        self._child = ChildProcess(self._command)

    def read(self) -> NDArray[np.uint8] | None:
        """As the port says; E_ENDED with exit status and last line of standard error, or E_TIMEOUT."""
        if self._child is None:
            return None
        raw = np.empty(self._shape, np.uint8)
        whole = raw.data.cast("B")
        if not self._child.read_into(whole, within_s=self._patience_s, until=self._interrupted.is_set):
            return None
        if self._format == "bgr24":
            return raw
        return np.asarray(cv2.cvtColor(raw, _CONVERSIONS[self._format]), np.uint8)

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None
