"""Cameras with an address: RTSP and HTTP, through OpenCV's FFmpeg."""

import socket
import ssl
import time
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from agent.adapters.cameras.diagnosis import diagnose
from agent.adapters.cameras.endpoint import Endpoint
from agent.adapters.cameras.opencv import open_ffmpeg, read_pixels, use_options
from agent.adapters.cameras.timeline import MOST_GAP_S, Timeline
from agent.adapters.pacing import Pacer
from agent.domain.errors import Code, RefusedError, TransientError

log = structlog.get_logger(__name__)

_RESOLVER_S: Final = 30.0
"""The resolver cannot be interrupted; three silent servers, asked twice, take 5 s each (resolv.conf(5))."""
_DIAGNOSIS_S: Final = 2.0
_TURNS_S: Final = 5.0
"""For other cameras with other options to begin opening before this one."""
_MOST_DAMAGED: Final = 1000
"""Reads in a row that fail before the stream counts as ended. Behind damage more follows; at the end they
take no time."""
_CA_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class NetworkCamera:
    """Fulfils `ports.FrameSource` for rtsp, rtsps, http and https.

    Live streams are never waited with; what comes in advance (HLS, a file over HTTP) is paced by its stamps.
    Certificates are verified against `ca_file`, by default the system's. Redirects are not followed: they
    would lead past the hosts that are allowed.
    """

    def __init__(
        self,
        *,
        url: str,
        credentials: tuple[str, str] | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 5.0,
        ca_file: Path | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """`url` is without `credentials`, which are user name and password."""
        self._endpoint = Endpoint.parse(url, credentials)
        self._transport = transport
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._ca_file = ca_file or _system_ca_file()
        self._pacer = pacer or Pacer()
        self._capture: cv2.VideoCapture | None = None
        self._first: NDArray[np.uint8] | None = None
        self._timeline: Timeline | None = None

    @property
    def patience_s(self) -> float:
        if self._capture is None:
            return _RESOLVER_S + _TURNS_S + 2 * self._open_timeout_s + self._read_timeout_s + 4 * _DIAGNOSIS_S
        return 2 * self._read_timeout_s + (MOST_GAP_S if self._timeline else 0.0)

    def open(self) -> None:
        """As the port says; returns with the first picture there. E_TIMEOUT, E_AUTH, E_TLS or E_OPEN."""
        endpoint = self._endpoint
        self._resolve()
        use_options(self._options())
        began_s = time.monotonic()
        capture = open_ffmpeg(
            endpoint.url_with_credentials,
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
        )
        if not capture.isOpened():
            capture.release()
            if time.monotonic() - began_s >= self._open_timeout_s:
                raise TransientError(
                    f"{endpoint.shown} gave no video within {self._open_timeout_s:g} s", code=Code.TIMEOUT
                )
            raise diagnose(endpoint, ca_file=self._ca_file, timeout_s=_DIAGNOSIS_S)
        try:
            self._first = self._next(capture, within_s=self._open_timeout_s)
        except TransientError:
            capture.release()
            raise
        self._timeline = self._timeline_of(capture)
        self._capture = capture
        self._pacer.restart()
        log.info(
            "camera.opened",
            camera=endpoint.shown,
            width_px=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height_px=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            paced=self._timeline is not None,
        )

    def read(self) -> NDArray[np.uint8] | None:
        """As the port says; a stream that stops is E_TIMEOUT, one that ends E_ENDED."""
        if self._capture is None:
            return None
        pixels, self._first = self._first, None
        if pixels is None:
            pixels = self._next(self._capture, within_s=self._read_timeout_s)
        if self._timeline is not None:
            due_s = self._timeline.advance(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if not self._pacer.wait_until(due_s):
                return None
        return pixels

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
            self._first = None

    def _next(self, capture: cv2.VideoCapture, *, within_s: float) -> NDArray[np.uint8]:
        began_s = time.monotonic()
        for _ in range(_MOST_DAMAGED):
            pixels = read_pixels(capture)
            if pixels is not None:
                return pixels
            if time.monotonic() - began_s >= within_s:
                raise TransientError(
                    f"{self._endpoint.shown} gave no frame within {within_s:g} s", code=Code.TIMEOUT
                )
        raise TransientError(f"{self._endpoint.shown} ended", code=Code.ENDED)

    def _resolve(self) -> None:
        """Ask for the host's address first: FFmpeg could say neither that this failed, nor end it in time."""
        if self._endpoint.is_numeric:
            return
        try:
            socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise TransientError(
                f"the name {self._endpoint.host} cannot be resolved: {error.strerror}", code=Code.OPEN
            ) from error
        except UnicodeError as error:
            raise RefusedError(f"{self._endpoint.host!r} is no host name", code=Code.OPEN) from error

    def _options(self) -> str:
        options = {"rtsp_transport": self._transport, "max_redirects": "0", "tls_verify": "1"}
        if self._ca_file is not None:
            options["ca_file"] = str(self._ca_file)
        return "|".join(f"{name};{value}" for name, value in options.items())

    def _timeline_of(self, capture: cv2.VideoCapture) -> Timeline | None:
        has_length = not self._endpoint.is_rtsp and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        if not (has_length or self._endpoint.is_hls):
            return None
        return Timeline(rate_hz=capture.get(cv2.CAP_PROP_FPS))


def _system_ca_file() -> Path | None:
    """The system's trusted certificates in one file; the FFmpeg in OpenCV's wheel looks elsewhere."""
    named = ssl.get_default_verify_paths().cafile
    candidates = [Path(name) for name in ([named] if named else []) + list(_CA_FILES)]
    return next((path for path in candidates if path.is_file()), None)
