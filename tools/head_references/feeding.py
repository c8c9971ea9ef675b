"""How near the agent's input tensors come to those of a reference's own preprocessing."""

import numpy as np
from numpy.typing import NDArray

from agent.vision.feeding import Feeder, Feeding
from agent.vision.letterbox import Size


def compare_feeding(
    name: str,
    feeding: Feeding,
    size: tuple[int, int],
    pixels: NDArray[np.uint8],
    reference: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Print how far a picture, uint8 `[height, width, 3]` BGR, once fed, is from `reference` `[3, *size]`.

    Gives what is fed, `[1, 3, *size]`.
    """
    feeder = Feeder(slots=1, size=Size(*size), feeding=feeding)
    feeder.put(0, pixels)
    fed = feeder.filled(1).astype(np.float32)
    apart = np.abs(fed[0].astype(np.float64) - reference)
    frame = f"{pixels.shape[0]}x{pixels.shape[1]}"
    print(f"{name} {frame}: inputs differ by {apart.mean():.2g}, at most {apart.max():.2g}")
    return fed
