"""The second input of some detectors: how large each frame was, so that boxes come out in its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.session import OnnxSession, TensorSpec
from agent.vision.letterbox import Size

_TYPES = frozenset({"int64", "int32", "float32"})


@dataclass(frozen=True, slots=True)
class SizeInput:
    """An input `[N, 2]` named `name` of numpy's type `dtype`."""

    name: str
    dtype: str

    def feed(self, frames: Sequence[Size], *, rows: int) -> dict[str, NDArray[Any]]:
        """Width and height of each; a batch of fixed length is filled up with the last one's."""
        sizes = [(frame.width_px, frame.height_px) for frame in frames]
        sizes += sizes[-1:] * (rows - len(sizes))
        return {self.name: np.array(sizes, self.dtype)}


def size_input(session: OnnxSession) -> SizeInput | None:
    """What the file wants beside the picture, its first input.

    Raises:
        ValueError: it is something else than the frames' sizes.
    """
    match session.inputs[1:]:
        case ():
            return None
        case (TensorSpec(shape=(_, 2 | None), dtype=dtype) as second,) if dtype in _TYPES:
            return SizeInput(second.name, dtype)
        case others:
            raise ValueError(
                "a detector with one input is wanted, the picture, or with a second one for the frame's "
                f"width and height, [N, 2] of {', '.join(sorted(_TYPES))}; "
                f"beside the picture this has {len(others)}"
            )
