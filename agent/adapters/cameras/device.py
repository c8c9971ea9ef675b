"""A camera of this machine, through Video4Linux2."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from agent.adapters.cameras.opencv import VideoCapture, read_pixels
from agent.domain.errors import Code, RefusedError, TransientError

log = structlog.get_logger(__name__)

_SELECT_TIMEOUT_S: Final = 10.0
"""How long OpenCV waits for a frame. Source: OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT, videoio/src/cap_v4l.cpp."""


def _open_v4l2(path: str) -> VideoCapture:
    return cv2.VideoCapture(path, cv2.CAP_V4L2)


class DeviceCamera:
    """Fulfils `ports.FrameSource`. What a device does not grant of what was asked is logged, no more."""

    def __init__(
        self,
        *,
        device: str,
        width_px: int | None = None,
        height_px: int | None = None,
        rate_hz: float | None = None,
        fourcc: str | None = None,
        folder: Path = Path("/dev"),
        open_capture: Callable[[str], VideoCapture] = _open_v4l2,
    ) -> None:
        """`device` is its name below `folder`; what is None stays as the device has it."""
        self._path = folder / device
        # The pixel format first: which sizes and rates there are depends on it.
        asked = {
            cv2.CAP_PROP_FOURCC: None if fourcc is None else float(cv2.VideoWriter.fourcc(*fourcc)),
            cv2.CAP_PROP_FRAME_WIDTH: width_px,
            cv2.CAP_PROP_FRAME_HEIGHT: height_px,
            cv2.CAP_PROP_FPS: rate_hz,
        }
        self._asked = {prop: float(value) for prop, value in asked.items() if value is not None}
        self._open_capture = open_capture
        self._capture: VideoCapture | None = None

    @property
    def patience_s(self) -> float:
        return _SELECT_TIMEOUT_S + 5.0

    def open(self) -> None:
        """As the port says. A device that is unplugged, or that another program uses, is E_OPEN."""
        self._check_node()
        capture = self._open_capture(str(self._path))
        self._capture = capture
        if not capture.isOpened():
            raise TransientError(
                f"{self._path} did not open: another program uses it, or it captures no video", code=Code.OPEN
            )
        for prop, value in self._asked.items():
            capture.set(prop, value)
        granted = {prop: capture.get(prop) for prop in _NAMES}
        differing = [prop for prop, value in self._asked.items() if abs(granted[prop] - value) > 0.01 * value]
        log.info("camera.opened", camera=str(self._path), **_told(granted))
        if differing:
            log.warning(
                "camera.settings_differ",
                camera=str(self._path),
                asked=_told({prop: self._asked[prop] for prop in differing}),
                granted=_told({prop: granted[prop] for prop in differing}),
            )

    def read(self) -> NDArray[np.uint8] | None:
        if self._capture is None:
            return None
        pixels = read_pixels(self._capture)
        if pixels is None:
            gone = "" if self._path.exists() else "; it was unplugged"
            raise TransientError(f"{self._path} gives no frames any more{gone}", code=Code.ENDED)
        return pixels

    def interrupt(self) -> None:
        """Nothing to do: a device's frames are soon there, or time out."""

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _check_node(self) -> None:
        try:
            mode = self._path.stat().st_mode
            if not stat.S_ISCHR(mode):
                raise RefusedError(f"{self._path} is no device", code=Code.OPEN, path=str(self._path))
            with self._path.open("r+b", buffering=0):
                pass
        except FileNotFoundError as error:
            raise TransientError(
                f"{self._path} is not there", code=Code.OPEN, path=str(self._path)
            ) from error
        except PermissionError as error:
            raise RefusedError(
                f"{self._path} may not be used by this user, who has to be in its group (often `video`)",
                code=Code.OPEN,
                path=str(self._path),
            ) from error
        except OSError as error:
            raise TransientError(
                f"{self._path} did not open: {error.strerror}", code=Code.OPEN, path=str(self._path)
            ) from error


_NAMES: Final = {
    cv2.CAP_PROP_FOURCC: "format",
    cv2.CAP_PROP_FRAME_WIDTH: "width_px",
    cv2.CAP_PROP_FRAME_HEIGHT: "height_px",
    cv2.CAP_PROP_FPS: "rate_hz",
}


def _told(settings: dict[int, float]) -> dict[str, object]:
    """Properties by their names in a policy; the pixel format as its four letters."""
    return {
        _NAMES[prop]: int(value).to_bytes(4, "little").decode("latin-1")
        if _NAMES[prop] == "format"
        else value
        for prop, value in settings.items()
    }
