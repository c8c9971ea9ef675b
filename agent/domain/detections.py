"""What a model found in one picture, as a struct of arrays."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.domain.considered import Considered
from agent.domain.fates import NO_FATES, Fates


@dataclass(frozen=True, slots=True)
class Detections:
    """N objects, by falling confidence.

    `boxes`: float64 `[N, 4]`, x1, y1, x2, y2 in pixels of the source frame, clipped to it.
    `confidence`: float32 `[N]` in 0..1. `class_id`: int32 `[N]`.
    `keypoints`: float64 `[N, K, 3]`, x, y in pixels of the source frame and a confidence in 0..1, or None.
    `candidates`: how many passed the confidence threshold before suppression. `fates`: what became of all
    that came near. `considered`: these themselves, where the thresholds ask for them (`Thresholds.floor`) and
    there are any.

    Raises:
        ValueError: the arrays do not have these shapes.
    """

    boxes: NDArray[np.float64]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]
    keypoints: NDArray[np.float64] | None = None
    candidates: int = 0
    fates: Fates = NO_FATES
    considered: Considered | None = None

    def __post_init__(self) -> None:
        count = len(self.confidence)
        keypoints_fit = self.keypoints is None or (
            self.keypoints.ndim == 3 and self.keypoints.shape[0] == count and self.keypoints.shape[2] == 3
        )
        if self.boxes.shape != (count, 4) or self.class_id.shape != (count,) or not keypoints_fit:
            shapes = (self.boxes.shape, self.confidence.shape, self.class_id.shape)
            raise ValueError(f"detections do not fit one another: boxes, confidence, class_id are {shapes}")

    def __len__(self) -> int:
        return len(self.confidence)

    def only(self, indices: NDArray[np.intp]) -> "Detections":
        """Some of the objects; what is known beside them stays."""
        return replace(
            self,
            boxes=self.boxes[indices],
            confidence=self.confidence[indices],
            class_id=self.class_id[indices],
            keypoints=None if self.keypoints is None else self.keypoints[indices],
        )


def no_detections(keypoints: int = 0) -> Detections:
    """An empty result; `keypoints` is K of a pose model, 0 for a detector."""
    return Detections(
        boxes=np.empty((0, 4), np.float64),
        confidence=np.empty(0, np.float32),
        class_id=np.empty(0, np.int32),
        keypoints=np.empty((0, keypoints, 3), np.float64) if keypoints else None,
    )
