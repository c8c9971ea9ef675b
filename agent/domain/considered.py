"""The candidates of a frame as its model gave them, kept so that other thresholds can be tried on them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Considered(NamedTuple):
    """Everything above the confidence `known_from`, before limits, suppression and zones.

    `boxes`: float32 `[n, 4]`, x1, y1, x2, y2 in pixels of the model's input, which shows the frame scaled by
    `gain` (x, y) with its corner at `corner`. `confidence`: float32 `[n]`. `class_id`: whole numbers `[n]`.
    `suppresses`: whether boxes that overlap are sifted here; a model may have done so itself. `at_most`: so
    many objects a frame, whatever the thresholds say.
    """

    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer]
    known_from: float
    frame: tuple[int, int]
    """Width and height of the frame in pixels."""
    corner: tuple[int, int]
    gain: tuple[float, float]
    suppresses: bool
    at_most: int | None = None
