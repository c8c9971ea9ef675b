"""Pictures that carry their number, and videos made of them."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.programs import find_program

WIDTH_PX: Final = 192
HEIGHT_PX: Final = 144
_BITS: Final = 10
_CELL_PX: Final = 16


def numbered(number: int) -> NDArray[np.uint8]:
    """A picture whose number is drawn as a row of black and white squares, which survives lossy coding."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), (40, 90, 160), np.uint8)
    for bit in range(_BITS):
        picture[:_CELL_PX, bit * _CELL_PX : (bit + 1) * _CELL_PX] = 255 * (number >> bit & 1)
    left = number * 5 % (WIDTH_PX - 32)
    picture[64:96, left : left + 32] = (30, 200, 60)
    return picture


def number_in(picture: NDArray[np.uint8]) -> int:
    """The number that a picture made by `numbered` carries."""
    cells = [picture[4:12, bit * _CELL_PX + 4 : bit * _CELL_PX + 12].mean() for bit in range(_BITS)]
    return sum(int(mean > 127) << bit for bit, mean in enumerate(cells))


def write_video(path: Path, count: int, *, rate_hz: float = 10.0, codec: str = "MJPG") -> Path:
    """A video of `count` numbered pictures, made by OpenCV."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate_hz, (WIDTH_PX, HEIGHT_PX))
    assert writer.isOpened()
    for number in range(count):
        writer.write(numbered(number))
    writer.release()
    return path


def convert(source: Path, target: Path, *options: str) -> Path:
    """`source` as ffmpeg makes `target` of it. For tests with the marker `ffmpeg`."""
    ffmpeg = find_program("ffmpeg")
    assert ffmpeg
    command = [ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True, timeout=50)
    return target


def cut_off(source: Path, target: Path, share: float) -> Path:
    """The first `share` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def write_pictures(folder: Path, numbers: Sequence[int]) -> Path:
    """A folder of numbered pictures, ``1.png`` and so on."""
    folder.mkdir()
    for number in numbers:
        assert cv2.imwrite(str(folder / f"{number}.png"), numbered(number))
    return folder
