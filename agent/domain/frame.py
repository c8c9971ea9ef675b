"""A picture from a camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    `pixels` is uint8 `[height, width, 3]`, BGR, owned by the frame: nobody writes to it after capture.
    `number` counts a source's frames from 0 in decode order and starts again when the source is reopened.
    """

    source: SourceName
    number: int
    captured: Stamp
    pixels: NDArray[np.uint8]

    @property
    def width_px(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        return int(self.pixels.shape[0])
