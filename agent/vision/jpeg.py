"""Pictures as JPEG, no larger than they may be."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_QUALITY: Final = 10
_STEP: Final = 0.75


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A picture as bytes, with the size and the quality that it came to have."""

    body: bytes
    width_px: int
    height_px: int
    quality: int


def encode_jpeg(
    pixels: NDArray[np.uint8], *, quality: int, longest_side_px: int, most_bytes: int
) -> Jpeg | None:
    """`pixels`, uint8 `[height, width, 3]`, BGR, made smaller where a side is longer than `longest_side_px`.

    The quality falls until it fits into `most_bytes`; None: not even the least one does.
    """
    height_px, width_px = pixels.shape[:2]
    scale = min(1.0, longest_side_px / max(height_px, width_px))
    if scale < 1.0:
        width_px, height_px = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        pixels = np.asarray(
            cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    while True:
        is_encoded, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if is_encoded and len(encoded) <= most_bytes:
            return Jpeg(encoded.tobytes(), width_px, height_px, quality)
        if not is_encoded or quality <= LEAST_QUALITY:
            return None
        quality = max(LEAST_QUALITY, int(quality * _STEP))
