"""YOLOv5 and v7: `[N, anchors, 5 + classes]`, boxes as centre and size in pixels of the input; v6 likewise.

v5 and v7 have three anchors a cell, v6 one, with an objectness of exactly 1 (it has none). v7 trains no
score for a single class, so its files of one class should say `head=yolov7`: confidence is objectness then.

Source: `non_max_suppression` of YOLOv5 7.0 and of YOLOv7 (`if nc == 1`), `Detect.forward` of YOLOv6.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.feeding import Feeding, PixelCode
from agent.vision.heads import Evidence, Output
from agent.vision.heads.grid import STRIDES, cell_count
from agent.vision.heads.objectness import BEFORE_CLASSES, ObjectnessHead
from agent.vision.letterbox import Size

NAMES: Final = frozenset({"yolov5", "yolov6", "yolov7"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "YOLOv5's [N, anchors, 5 + classes]"


class YoloV5Head(ObjectnessHead):
    """Decodes outputs whose boxes are centre and size in pixels of the input."""

    def place(self, boxes: NDArray[np.float32], anchors: NDArray[np.intp], size: Size) -> NDArray[np.float32]:  # noqa: ARG002 - the base's
        """As they are."""
        return boxes


def fit(evidence: Evidence) -> YoloV5Head | None:
    """The head for a model of this family, or None.

    Without a name, the number of anchors tells it from finished boxes and from YOLOX.
    """
    said = evidence.said.get("head", "").lower()
    if evidence.task not in {"detect", None} or evidence.end_to_end:
        return None
    for output in evidence.outputs:
        shape = output.shape
        if len(shape) != 3 or shape[2] <= BEFORE_CLASSES:
            continue
        count = shape[2] - BEFORE_CLASSES
        if evidence.class_names is not None and len(evidence.class_names) != count:
            continue
        if said not in NAMES and not _is_mine(output, evidence.input_size):
            continue
        return YoloV5Head(
            class_names=evidence.class_names or {index: f"class-{index}" for index in range(count)},
            output_name=output.name,
            feeding=Feeding(PixelCode(element=evidence.element)),
            scored=not (said == "yolov7" and count == 1),
        )
    return None


def _is_mine(output: Output, size: Size) -> bool:
    per_cell = [output.shape[1] / max(cell_count(size, strides), 1) for strides in STRIDES]
    if any(each >= 2 and each.is_integer() for each in per_cell):
        return True
    sure = output.values is not None and bool(np.all(output.values[:, BEFORE_CLASSES - 1] == 1.0))
    return 1.0 in per_cell and sure
