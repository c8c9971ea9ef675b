"""The YOLOv8 family: `[N, 4 + classes (+ K keypoints x 2 or 3), anchors]`; v9, v11, v12 write the same.

Rows 0..3 are a box's centre, width and height in pixels of the input; then one confidence a class,
already through the sigmoid; then the keypoints. Source: Ultralytics, `non_max_suppression`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Element, Feeding, PixelCode
from agent.vision.heads import Evidence, Output
from agent.vision.heads.candidates import (
    GREATEST_CONFIDENCE,
    Candidates,
    Selector,
    check_confidences,
    check_finite,
    corners,
    detections,
    keypoints_to_frame,
)
from agent.vision.heads.grid import strides_for
from agent.vision.heads.sifting import Near
from agent.vision.letterbox import Letterbox, Size

_BOX_ROWS = 4

NAMES: Final = frozenset({"yolov8", "yolov9", "yolo11", "yolo12"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "YOLOv8's [N, 4 + classes, anchors]"


class YoloV8Head:
    """Decodes detect and pose outputs of this family. `keypoint_shape` is (K, 2) or (K, 3), or None."""

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
        self._end_of_classes = _BOX_ROWS + len(class_names)
        self._selector = Selector(class_names)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Thresholds first, so that only the few survivors of thousands of anchors are decoded."""
        (output,) = outputs
        scores = output[_BOX_ROWS : self._end_of_classes]
        # numpy's maximum carries NaN along, cv2.reduce's does not; they take the same time.
        best = scores[0] if len(scores) == 1 else scores.max(axis=0)
        check_confidences(best)
        near = self._selector.near(best, thresholds)
        return self.finish(output.take(near.indices, axis=1), near, letterbox, thresholds)

    def least(self, thresholds: Thresholds) -> float:
        """The lowest confidence above which a box of any class may count."""
        return self._selector.least(thresholds)

    def nothing(self) -> Detections:
        """What is found where no anchor passes."""
        return no_detections(self._keypoint_shape[0] if self._keypoint_shape else 0)

    def finish(
        self, rows: NDArray[np.float32], near: Near, letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """What counts of the columns of the family's table that are near, `[4 + classes (+ keypoints), n]`.

        Raises:
            TransientError: a box or a keypoint is NaN or infinite.
        """
        if not rows.shape[1]:
            return self.nothing()
        scores, points = rows[_BOX_ROWS : self._end_of_classes], rows[self._end_of_classes :]
        boxes, confidence = corners(rows[:_BOX_ROWS]), scores.max(axis=0)
        candidates = Candidates(boxes, confidence, scores.argmax(axis=0), near.left_out, near.known_from)
        check_finite(candidates.boxes, points)
        selection = self._selector.select(candidates, letterbox, thresholds)
        keypoints = None
        if self._keypoint_shape is not None:
            keypoints = keypoints_to_frame(points[:, selection.kept].T, self._keypoint_shape, letterbox)
        return detections(candidates, selection, letterbox, keypoints)


def fit(evidence: Evidence) -> YoloV8Head | None:
    """The head for a model of this family, or None.

    The axes tell it from others: `[N, 6, A]` with two classes is of this family, `[N, 300, 6]` is not.
    """
    if evidence.end_to_end or evidence.task == "classify":
        return None
    extra = 0
    if evidence.task == "pose":
        if evidence.keypoint_shape is None:
            return None
        extra = evidence.keypoint_shape[0] * evidence.keypoint_shape[1]
    for output in evidence.outputs:
        shape = output.shape
        if len(shape) != 3:
            continue
        names = evidence.class_names or _names_from(output, extra, evidence.input_size)
        if names and shape[1] == _BOX_ROWS + len(names) + extra:
            keypoint_shape = evidence.keypoint_shape if extra else None
            return YoloV8Head(
                class_names=names,
                keypoint_shape=keypoint_shape,
                output_name=output.name,
                element=evidence.element,
            )
    return None


def _names_from(output: Output, extra: int, input_size: Size) -> dict[int, str]:
    """Names made up for a file without any, if the last axis has the anchors of this input; else none.

    What came out must be confidences: keypoints and mask coefficients, which such a file does not tell from
    classes, go beyond 1.
    """
    count = output.shape[1] - _BOX_ROWS - extra
    if strides_for(input_size, output.shape[2]) is None:
        return {}
    if (
        output.values is not None
        and (output.values[_BOX_ROWS : _BOX_ROWS + count] > GREATEST_CONFIDENCE).any()
    ):
        return {}
    return {index: f"class-{index}" for index in range(count)}
