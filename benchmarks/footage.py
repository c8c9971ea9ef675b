"""What the camera sees: 1280x720 pictures of the rendered conveyor, and the same as an h264 video."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 720
RATE_HZ: Final = 15

_BITRATE: Final = "4M"
_KEPT: Final = 8
_ENCODE_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Footage:
    """`pictures`: some frames, uint8 `[720, 1280, 3]` BGR. `video`: all `frames`, at 15 a second."""

    pictures: list[NDArray[np.uint8]]
    video: Path
    codec: str
    frames: int


def render_footage(folder: Path, *, frames: int, advance: Callable[[], None]) -> Footage:
    """Render and encode; `advance` is called after each frame.

    With ffmpeg it is h264 as network cameras send it (4 Mbit/s, no B frames). Without, OpenCV's MPEG-4: the
    wheel has no h264 encoder.

    Raises:
        RuntimeError: the video could not be written.
    """
    scene = ConveyorScene(width_px=WIDTH_PX, height_px=HEIGHT_PX, seed=1)
    kept: list[NDArray[np.uint8]] = []

    def rendered() -> Iterator[NDArray[np.uint8]]:
        for number in range(frames):
            picture = scene.render(number)
            if len(kept) < _KEPT and number % max(1, frames // _KEPT) == 0:
                kept.append(picture)
            yield picture
            advance()

    video = folder / "footage.mp4"
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        _write_with_opencv(video, rendered())
    else:
        _write_with_ffmpeg(ffmpeg, video, rendered())
    return Footage(pictures=kept, video=video, codec="mpeg4" if ffmpeg is None else "h264", frames=frames)


def _write_with_ffmpeg(ffmpeg: str, video: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    encoder = subprocess.Popen(
        [
            *(ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"),
            *("-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", str(RATE_HZ), "-i", "pipe:0"),
            *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0"),
            *("-g", str(2 * RATE_HZ), "-b:v", _BITRATE, "-maxrate", _BITRATE, "-bufsize", _BITRATE),
            str(video),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if encoder.stdin is None:
        raise AssertionError("stdin was asked for")
    try:
        for picture in pictures:
            encoder.stdin.write(picture.data)
    except BrokenPipeError:
        pass  # it has ended, and says why below
    try:
        _, said = encoder.communicate(timeout=_ENCODE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        encoder.kill()
        raise
    if encoder.returncode:
        raise RuntimeError(f"ffmpeg could not write the video: {said.decode(errors='replace').strip()}")


def _write_with_opencv(video: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    writer = cv2.VideoWriter(
        str(video), cv2.VideoWriter.fourcc(*"mp4v"), float(RATE_HZ), (WIDTH_PX, HEIGHT_PX)
    )
    if not writer.isOpened():
        raise RuntimeError("OpenCV could not write a video; install ffmpeg")
    for picture in pictures:
        writer.write(picture)
    writer.release()
