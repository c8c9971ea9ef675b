"""Pictures with their truth, from a folder in COCO's or in YOLO's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.vision.letterbox import Size


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture's truth, N objects.

    `boxes`: float64 `[N, 4]`, x1, y1, x2, y2, in pixels of the picture or, with `fractions`, in 0..1 of its
    sides. `class_id`: int32 `[N]`, of the dataset. `crowd`: bool `[N]`, boxes around many objects, in which
    what is found is neither right nor wrong.
    """

    path: Path
    boxes: NDArray[np.float64]
    class_id: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    fractions: bool

    def boxes_px(self, size: Size) -> NDArray[np.float64]:
        """In pixels of a picture of this size."""
        scale = np.array([size.width_px, size.height_px] * 2, np.float64)
        return self.boxes * scale if self.fractions else self.boxes


@dataclass(frozen=True, slots=True)
class Dataset:
    """`class_names` by the dataset's ids; `problems`: one sentence for each thing that was left out."""

    class_names: Mapping[int, str]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
