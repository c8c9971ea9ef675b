"""The YOLOv8 family: `[N, 4 + classes (+ K keypoints x 2 or 3), anchors]`; v9, v11, v12 write the same.

Rows 0..3 are a box's centre, width and height in pixels of the input; then one confidence a class,
already through the sigmoid; then the keypoints. Source: Ultralytics, `non_max_suppression`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Element, Feeding, PixelCode
from agent.vision.heads import Evidence
from agent.vision.letterbox import Letterbox, Size
from agent.vision.nms import suppress

_BOX_ROWS = 4

STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))
"""What the family is exported with: the usual levels, with a finer and with a coarser one."""

# A quantised sigmoid may come out a step above 1; a logit is far beyond.
_GREATEST_CONFIDENCE = 1.01


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
        self._points, self._numbers = keypoint_shape or (0, 0)
        self._end_of_classes = _BOX_ROWS + len(class_names)
        self._ids_of: dict[str, list[int]] = {}
        for class_id, name in class_names.items():
            self._ids_of.setdefault(name, []).append(class_id)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Thresholds first, so that only the few survivors of thousands of anchors are decoded."""
        (output,) = outputs
        scores = output[_BOX_ROWS : self._end_of_classes]
        # numpy's maximum carries NaN along, cv2.reduce's does not; they take the same time.
        best = scores[0] if len(scores) == 1 else scores.max(axis=0)
        _check_confidences(best)
        anchors = np.flatnonzero(best > self.least(thresholds))
        return self.finish(output.take(anchors, axis=1), letterbox, thresholds)

    def least(self, thresholds: Thresholds) -> float:
        """The lowest confidence above which a box of any class may count."""
        return self._limits(thresholds)[1]

    def finish(self, rows: NDArray[np.float32], letterbox: Letterbox, thresholds: Thresholds) -> Detections:
        """What counts of the few columns of the family's table, `[4 + classes (+ keypoints), n]`, that may.

        Raises:
            TransientError: a box or a keypoint is NaN or infinite.
        """
        if not rows.shape[1]:
            return no_detections(self._points)
        scores = rows[_BOX_ROWS : self._end_of_classes]
        class_id = scores.argmax(axis=0)
        confidence = scores.max(axis=0)
        boxes = _corners(rows[:_BOX_ROWS])
        _check_finite(boxes, rows[self._end_of_classes :])
        limits, least = self._limits(thresholds)
        passing = confidence > (least if limits is None else limits[class_id])
        candidates = int(np.count_nonzero(passing))
        if thresholds.min_side_px > 0:
            passing &= _shortest_side(letterbox.boxes_to_frame(boxes)) >= thresholds.min_side_px
        chosen = np.flatnonzero(passing)
        kept = chosen[
            suppress(
                boxes[chosen],
                confidence[chosen],
                class_id[chosen],
                iou=thresholds.iou,
                limit=thresholds.max_objects,
            )
        ]
        return Detections(
            boxes=letterbox.boxes_to_frame(boxes[kept]),
            confidence=np.minimum(confidence[kept], np.float32(1.0)),
            class_id=class_id[kept].astype(np.int32),
            keypoints=self._keypoints(rows[self._end_of_classes :, kept], letterbox),
            candidates=candidates,
        )

    def _limits(self, thresholds: Thresholds) -> tuple[NDArray[np.float32] | None, float]:
        """The least confidence of each class, or None where it is one for all; and the lowest of them."""
        named = {name: value for name, value in thresholds.by_class.items() if name in self._ids_of}
        if not named:
            return None, thresholds.confidence
        limits = np.full(len(self.class_names), thresholds.confidence, np.float32)
        for name, value in named.items():
            limits[self._ids_of[name]] = value
        return limits, float(limits.min())

    def _keypoints(self, rows: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float64] | None:
        if not self._points:
            return None
        points = rows.T.reshape(-1, self._points, self._numbers)
        keypoints = np.ones((len(points), self._points, 3), np.float64)
        keypoints[..., :2] = letterbox.points_to_frame(points[..., :2])
        if self._numbers == 3:
            keypoints[..., 2] = np.clip(points[..., 2], 0.0, 1.0)
        return keypoints


def fit(evidence: Evidence) -> YoloV8Head | None:
    """The head for a model of this family, or None.

    The axes tell it from others: `[N, 6, A]` with two classes is of this family, `[N, 300, 6]` is not.
    """
    if evidence.end_to_end:
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
        names = evidence.class_names or _names_from(shape, extra, evidence.input_size)
        if names and shape[1] == _BOX_ROWS + len(names) + extra:
            keypoint_shape = evidence.keypoint_shape if extra else None
            return YoloV8Head(
                class_names=names,
                keypoint_shape=keypoint_shape,
                output_name=output.name,
                element=evidence.element,
            )
    return None


def _names_from(shape: tuple[int, ...], extra: int, input_size: Size) -> dict[int, str]:
    """Names made up for a file without any, if the last axis has the anchors of this input; else none."""
    area = input_size.height_px * input_size.width_px
    anchors = [sum(area // (stride * stride) for stride in strides) for strides in STRIDES]
    count = shape[1] - _BOX_ROWS - extra
    return {index: f"class-{index}" for index in range(count)} if shape[2] in anchors else {}


def _corners(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """x1, y1, x2, y2 `[n, 4]` of centres and sizes `[4, n]`."""
    half = rows[2:] / 2
    return np.concatenate([rows[:2] - half, rows[:2] + half]).T


def _shortest_side(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides: NDArray[np.float64] = boxes[:, 2:] - boxes[:, :2]
    return np.minimum(sides[:, 0], sides[:, 1])


def _check_confidences(best: NDArray[np.float32]) -> None:
    greatest = float(best.max(initial=0.0))
    # Written so that NaN fails too.
    if not greatest <= _GREATEST_CONFIDENCE:
        raise TransientError(
            f"the model's greatest confidence is {greatest:g}, not within 0..1: "
            "half precision may have overflowed, or the export lacks the sigmoid",
            code=Code.MODEL,
        )


def _check_finite(boxes: NDArray[np.float32], keypoints: NDArray[np.float32]) -> None:
    if not (np.isfinite(boxes).all() and np.isfinite(keypoints).all()):
        raise TransientError(
            "the model gave NaN or infinity for a box or a keypoint; half precision may have overflowed",
            code=Code.MODEL,
        )
