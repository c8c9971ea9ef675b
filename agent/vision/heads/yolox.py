"""YOLOX: `[N, cells, 5 + classes]`, BGR of 0..255, padded below and to the right.

As exported, a box is an offset within its cell and the logarithm of its size, both in strides; with
`--decode_in_inference` it is centre and size in pixels of the input. The file does not say which: what the
model gave for one picture does.

Source: `preproc`, `YOLOXHead.decode_outputs` and `postprocess` of YOLOX 0.3.0.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.feeding import Element, Feeding, PixelCode
from agent.vision.heads import Evidence, Output
from agent.vision.heads.grid import cells_at, strides_for
from agent.vision.heads.objectness import BEFORE_CLASSES, ObjectnessHead
from agent.vision.letterbox import Size

NAMES: Final = frozenset({"yolox"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "YOLOX's [N, cells, 5 + classes]"


class YoloXHead(ObjectnessHead):
    """Decodes outputs of cells with these `strides`, or boxes that come finished, for None."""

    def __init__(
        self,
        *,
        class_names: Mapping[int, str],
        output_name: str,
        strides: tuple[int, ...] | None,
        element: Element = "float32",
    ) -> None:
        super().__init__(
            class_names=class_names,
            output_name=output_name,
            feeding=Feeding(PixelCode(element=element, colours="bgr", scale=1.0), placement="corner"),
        )
        self._strides = strides

    def place(self, boxes: NDArray[np.float32], anchors: NDArray[np.intp], size: Size) -> NDArray[np.float32]:
        """As the base says; offsets and logarithms by the cells."""
        if self._strides is None:
            return boxes
        cells, stride = cells_at(anchors, size, self._strides)
        return np.concatenate([(boxes[:2] + cells) * stride, np.exp(boxes[2:]) * stride])


def fit(evidence: Evidence) -> YoloXHead | None:
    """The head for a model of this family, or None.

    One anchor a cell tells it from YOLOv5. Decoded boxes without class names could as well be YOLOv8's
    with its axes swapped, and are refused unless the metadata names the head.
    """
    if evidence.task not in {"detect", None} or evidence.end_to_end:
        return None
    named = evidence.said.get("head", "").lower() in NAMES
    for output in evidence.outputs:
        shape = output.shape
        if len(shape) != 3 or shape[2] <= BEFORE_CLASSES:
            continue
        count = shape[2] - BEFORE_CLASSES
        strides = strides_for(evidence.input_size, shape[1])
        if strides is None or (evidence.class_names is not None and len(evidence.class_names) != count):
            continue
        decoded = _is_decoded(output, evidence.input_size, strides)
        if decoded and not named and evidence.class_names is None:
            continue
        return YoloXHead(
            class_names=evidence.class_names or {index: f"class-{index}" for index in range(count)},
            output_name=output.name,
            strides=None if decoded else strides,
            element=evidence.element,
        )
    return None


def _is_decoded(output: Output, size: Size, strides: tuple[int, ...]) -> bool:
    """Whether what came out lies about the cells in pixels, rather than about 0."""
    if output.values is None:
        return False
    cells, stride = cells_at(np.arange(output.shape[1]), size, strides)
    centres = output.values[:, :2].T
    return float(np.abs(centres - cells * stride).mean()) < float(np.abs(centres).mean())
