"""The cells of a detector's levels: one level a stride, the finest first, row by row.

Source: Ultralytics, `make_anchors`; YOLOX, `YOLOXHead.decode_outputs`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.letterbox import Size

STRIDES: Final = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))
"""What models are exported with: the usual levels, with a finer and with a coarser one."""


def cell_count(size: Size, strides: Sequence[int]) -> int:
    """How many cells an input of `size` has.

    >>> cell_count(Size(640, 640), (8, 16, 32))
    8400
    """
    return sum((size.height_px // stride) * (size.width_px // stride) for stride in strides)


def strides_for(size: Size, cells: int) -> tuple[int, ...] | None:
    """The strides of a model that has so many cells for an input of `size`, or None.

    >>> strides_for(Size(640, 640), 8400)
    (8, 16, 32)
    """
    return next((strides for strides in STRIDES if cell_count(size, strides) == cells), None)


def cells_at(
    indices: NDArray[np.intp], size: Size, strides: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The near corner of each cell, x and y `[2, n]` in strides, and its stride `[n]` in pixels."""
    levels = [(size.height_px // stride, size.width_px // stride) for stride in strides]
    ends = np.cumsum([rows * columns for rows, columns in levels])
    level = np.searchsorted(ends, indices, side="right")
    width = np.array([columns for _, columns in levels])[level]
    row, column = np.divmod(indices - np.concatenate([[0], ends])[level], width)
    return np.stack([column, row]).astype(np.float32), np.array(strides, np.float32)[level]
