"""Finished boxes: `[N, rows, 6 (+ K keypoints x 2 or 3)]`, x1, y1, x2, y2 in pixels of the input.

Then confidence and class, and the keypoints. YOLOv10 and YOLO26 write these without suppression, exports
with `nms=True` after it; unused rows are zeros. What was left out inside the model cannot come back: a
threshold below its own changes nothing, nor does `iou`.

Source: Ultralytics 8.4, `Detect.postprocess`, `NMSModel.forward`, and `non_max_suppression` for 6 columns.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Element, Feeding, PixelCode
from agent.vision.heads import Evidence
from agent.vision.heads.candidates import (
    Candidates,
    Selector,
    check_confidences,
    check_finite,
    class_ids,
    detections,
    keypoints_to_frame,
)
from agent.vision.heads.grid import STRIDES, cell_count
from agent.vision.letterbox import Letterbox, Size

NAMES: Final = frozenset({"end2end", "nms", "yolov10", "yolo26", "v10detect"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "finished boxes [N, 300, 6]"

_ROW: Final = 6
_CONFIDENCE: Final = 4
_CLASS: Final = 5


class EndToEndHead:
    """Picks rows by their confidence. `keypoint_shape` is (K, 2) or (K, 3), or None."""

    def __init__(
        self,
        *,
        class_names: Mapping[int, str],
        keypoint_shape: tuple[int, int] | None,
        output_name: str,
        element: Element = "float32",
    ) -> None:
        self.class_names = class_names
        self.output_names = (output_name,)
        self.feeding = Feeding(PixelCode(element=element))
        self.task: Literal["detect", "pose"] = "pose" if keypoint_shape else "detect"
        self._keypoint_shape = keypoint_shape
        self._selector = Selector(class_names, suppresses=False)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Equal confidences keep the order of rows."""
        (output,) = outputs
        check_confidences(output[:, _CONFIDENCE])
        near = self._selector.near(output[:, _CONFIDENCE], thresholds)
        rows = output[near.indices]
        if not len(rows):
            return no_detections(self._keypoint_shape[0] if self._keypoint_shape else 0)
        check_finite(rows)
        class_id = class_ids(rows[:, _CLASS], self.class_names)
        boxes, confidence = rows[:, :4], rows[:, _CONFIDENCE]
        candidates = Candidates(boxes, confidence, class_id, near.left_out, near.known_from)
        selection = self._selector.select(candidates, letterbox, thresholds)
        keypoints = None
        if self._keypoint_shape is not None:
            keypoints = keypoints_to_frame(rows[selection.kept, _ROW:], self._keypoint_shape, letterbox)
        return detections(candidates, selection, letterbox, keypoints)


def fit(evidence: Evidence) -> EndToEndHead | None:
    """The head for a model of this family, or None.

    `[N, 6, A]` is YOLOv8's with two classes. As many rows as anchors are this family's only where the file
    says so: YOLOv8's with the axes swapped, or YOLOv5's with other names than classes, would give nonsense.
    """
    said = evidence.end_to_end or evidence.said.get("head", "").lower() in NAMES
    extra = 0
    if evidence.task == "pose":
        if evidence.keypoint_shape is None:
            return None
        extra = evidence.keypoint_shape[0] * evidence.keypoint_shape[1]
    elif evidence.task == "classify":
        return None
    for output in evidence.outputs:
        if len(output.shape) != 3 or output.shape[2] != _ROW + extra or output.shape[1] == _ROW:
            continue
        if said or not _are_anchors(output.shape[1], evidence.input_size):
            return EndToEndHead(
                class_names=evidence.class_names or {},
                keypoint_shape=evidence.keypoint_shape if extra else None,
                output_name=output.name,
                element=evidence.element,
            )
    return None


def _are_anchors(rows: int, size: Size) -> bool:
    """Whether so many rows are one or three for each cell of an input of `size`."""
    cells = [cell_count(size, strides) for strides in STRIDES]
    return rows in cells or rows in [3 * each for each in cells]
