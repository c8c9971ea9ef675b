"""The YOLOv8 family from a graph that was cut before its last step: logits, decoded after thresholding.

`box_logits` `[N, 4 x bins, A]`: for left, top, right and bottom edge, a distribution over its distance from
the anchor in strides. `class_logits` `[N, classes, A]`, before the sigmoid. `keypoint_logits`
`[N, K x 2 or 3, A]` for pose. Anchors are the cells of each level, row by row, the finest level first.
Such files are made by `nanofleet model prepare`.
Source: Ultralytics, `Detect.decode_bboxes`, `DFL`, `Pose.kpts_decode`, `make_anchors`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Element
from agent.vision.heads import Evidence
from agent.vision.heads.grid import cell_count, cells_at
from agent.vision.heads.sifting import floor_of, sift
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.letterbox import Letterbox, Size

GRAPH_KEY: Final = "nanofleet_graph"
HEAD_KEY: Final = "nanofleet_head"
"""Of the file's metadata: which rewrite made it, and `{"strides": …, "bins": …}` as JSON."""

BOXES: Final = "box_logits"
CLASSES: Final = "class_logits"
KEYPOINTS: Final = "keypoint_logits"

# A sigmoid in half of float32's digits: what lies so near a threshold is judged after the sigmoid.
_SLACK: Final = 1e-6


class YoloV8CutHead:
    """Decodes logits into what the exported graph would have given. Arguments as `YoloV8Head`'s."""

    def __init__(
        self,
        *,
        class_names: Mapping[int, str],
        keypoint_shape: tuple[int, int] | None,
        strides: tuple[int, ...],
        bins: int,
        element: Element = "float32",
    ) -> None:
        self.output_names = (BOXES, CLASSES, KEYPOINTS) if keypoint_shape else (BOXES, CLASSES)
        self._table = YoloV8Head(
            class_names=class_names, keypoint_shape=keypoint_shape, output_name="", element=element
        )
        self.class_names = class_names
        self.feeding = self._table.feeding
        self.task: Literal["detect", "pose"] = self._table.task
        self._numbers = keypoint_shape[1] if keypoint_shape else 0
        self._strides = strides
        self._moments = np.stack([np.arange(bins), np.ones(bins)]).astype(np.float32)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """The threshold is taken through the inverse of the sigmoid, so that only survivors need one."""
        classes = outputs[1]
        # numpy's maximum carries NaN along.
        best = classes[0] if len(classes) == 1 else classes.max(axis=0)
        greatest = float(best.max(initial=-math.inf))
        if not greatest < math.inf:
            raise TransientError(
                f"the model's greatest class logit is {greatest:g}; half precision may have overflowed",
                code=Code.MODEL,
            )
        least = self._table.least(thresholds)
        floor = floor_of(thresholds, least)
        near = sift(best, least=_logit(least - _SLACK), floor=_logit(floor - _SLACK))
        if not len(near.indices):
            return self._table.nothing()
        known_from = max(floor, _confidence(near.known_from)) if near.left_out else floor
        rows = self.table(outputs, near.indices, letterbox.input)
        return self._table.finish(rows, near._replace(known_from=known_from), letterbox, thresholds)

    def table(
        self, outputs: Sequence[NDArray[np.float32]], anchors: NDArray[np.intp], size: Size
    ) -> NDArray[np.float32]:
        """The exported graph's columns for `anchors`, for an input of `size`: boxes, classes, keypoints."""
        boxes, classes, *points = (output.take(anchors, axis=1) for output in outputs)
        places = _places(size, self._strides).take(anchors, axis=1)
        cells, stride = places[:2], places[2]
        edges = self._expectation(boxes)
        near, far = cells - edges[:2], cells + edges[2:]
        placed = ((near + far) * np.float32(0.5) * stride, (far - near) * stride)
        return np.concatenate(
            [*placed, _sigmoid(classes), *(self._keypoints(one, cells, stride) for one in points)]
        )

    def _expectation(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of each edge's distribution: float32 `[4, n]`, in strides."""
        edges = logits.reshape(4, self._moments.shape[1], -1)
        # What is infinite becomes NaN, which is told of the box.
        with np.errstate(invalid="ignore"):
            weights = np.exp(edges - edges.max(axis=1, keepdims=True))
        # [edges, 2, n]: what the bins weigh together with their numbers, and without.
        sums = self._moments @ weights
        mean: NDArray[np.float32] = sums[:, 0] / sums[:, 1]
        return mean

    def _keypoints(
        self, logits: NDArray[np.float32], cells: NDArray[np.float32], stride: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        points = logits.reshape(len(logits) // self._numbers, self._numbers, -1)
        points[:, :2] = (points[:, :2] * 2 + (cells - np.float32(0.5))) * stride
        points[:, 2:] = _sigmoid(points[:, 2:])
        return logits


def fit(evidence: Evidence) -> YoloV8CutHead | None:
    """The head for a file that says that it was cut so, or None.

    Raises:
        ValueError: it says so, but its outputs or its metadata are not those of such a file.
    """
    if evidence.said.get(GRAPH_KEY) != "cut":
        return None
    shapes = {output.name: output.shape for output in evidence.outputs}
    strides, bins = _read_head(evidence.said.get(HEAD_KEY, ""))
    keypoint_shape = evidence.keypoint_shape if evidence.task == "pose" else None
    anchors = cell_count(evidence.input_size, strides)
    classes = shapes.get(CLASSES, (0, 0, 0))
    wanted = {BOXES: (4 * bins, anchors), CLASSES: (classes[1], anchors)}
    if keypoint_shape is not None:
        wanted[KEYPOINTS] = (math.prod(keypoint_shape), anchors)
    names = evidence.class_names or {index: f"class-{index}" for index in range(classes[1])}
    if {name: shape[1:] for name, shape in shapes.items()} != wanted or len(names) != classes[1]:
        raise ValueError(
            f"its metadata says that it was cut for strides {list(strides)} and {bins} bins, "
            "but its outputs are others"
        )
    return YoloV8CutHead(
        class_names=names,
        keypoint_shape=keypoint_shape,
        strides=strides,
        bins=bins,
        element=evidence.element,
    )


def _read_head(text: str) -> tuple[tuple[int, ...], int]:
    try:
        said = json.loads(text)
        strides, bins = tuple(map(int, said["strides"])), int(said["bins"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"metadata {HEAD_KEY} is {text[:80]!r}; strides and bins are wanted") from error
    if not strides or min(strides) < 1 or bins < 1:
        raise ValueError(f"metadata {HEAD_KEY} is {text[:80]!r}; strides and bins are above 0")
    return strides, bins


@lru_cache(maxsize=8)
def _places(size: Size, strides: tuple[int, ...]) -> NDArray[np.float32]:
    """The middle of every anchor's cell, x and y in strides, and its stride in pixels: `[3, A]`."""
    corners, stride = cells_at(np.arange(cell_count(size, strides)), size, strides)
    places: NDArray[np.float32] = np.concatenate([corners + np.float32(0.5), stride[None]])
    places.flags.writeable = False
    return places


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # exp of what lies far below 0 is infinite, and the answer 0 then, as it should be.
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-logits))


def _confidence(logit: float) -> float:
    return float(_sigmoid(np.array([logit], np.float32))[0])


def _logit(confidence: float) -> float:
    if confidence <= 0:
        return -math.inf
    return math.log(confidence / (1 - confidence)) if confidence < 1 else math.inf
