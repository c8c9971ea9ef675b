"""From candidates to detections, the same for every family: limits by class, smallness, suppression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.letterbox import Letterbox
from agent.vision.nms import suppress

GREATEST_CONFIDENCE: Final = 1.01
"""A quantised sigmoid may come out a step above 1; a logit is far beyond."""

# Where a file names no classes: past this a number is none, but something else misread.
_MOST_CLASSES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes that may count: `boxes` float32 `[n, 4]`, x1, y1, x2, y2 in pixels of the input.

    `confidence` float32 `[n]`; `class_id` whole numbers `[n]`, from 0 on.
    """

    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Selection:
    """`kept`: indices of candidates, by falling confidence. `passing`: how many were confident enough."""

    kept: NDArray[np.intp]
    passing: int


class Selector:
    """The rules for what counts, by the classes of one model. Stateless: every lane calls it.

    Classes without a name go by ``class-<id>``. `suppresses` is False for what the model has sifted itself.
    """

    def __init__(self, class_names: Mapping[int, str], *, suppresses: bool = True) -> None:
        self._suppresses = suppresses
        self._nameless = not class_names
        self._ids_of: dict[str, list[int]] = {}
        for class_id, name in class_names.items():
            self._ids_of.setdefault(name, []).append(class_id)

    def least(self, thresholds: Thresholds) -> float:
        """The lowest confidence above which a box of any class may count."""
        known = (value for name, value in thresholds.by_class.items() if self._ids(name))
        return min((thresholds.confidence, *known))

    def select(self, candidates: Candidates, letterbox: Letterbox, thresholds: Thresholds) -> Selection:
        """Which candidates count. A box too small neither counts nor suppresses."""
        boxes, confidence, class_id = candidates.boxes, candidates.confidence, candidates.class_id
        passing = confidence > self._limits(class_id, thresholds)
        count = int(np.count_nonzero(passing))
        if thresholds.min_side_px > 0:
            passing &= _shortest_side(letterbox.boxes_to_frame(boxes)) >= thresholds.min_side_px
        chosen = np.flatnonzero(passing)
        if self._suppresses:
            order = suppress(
                boxes[chosen],
                confidence[chosen],
                class_id[chosen],
                iou=thresholds.iou,
                limit=thresholds.max_objects,
            )
        else:
            order = np.argsort(-confidence[chosen], kind="stable")[: thresholds.max_objects]
        return Selection(kept=chosen[order], passing=count)

    def _limits(self, class_id: NDArray[np.integer], thresholds: Thresholds) -> NDArray[np.float32] | float:
        """The least confidence of each candidate; a number where it is one for all."""
        named = [(self._ids(name), value) for name, value in thresholds.by_class.items()]
        if not any(ids for ids, _ in named) or not len(class_id):
            return thresholds.confidence
        limits = np.full(int(class_id.max()) + 1, thresholds.confidence, np.float32)
        for ids, value in named:
            limits[[one for one in ids if one < len(limits)]] = value
        each: NDArray[np.float32] = limits[class_id]
        return each

    def _ids(self, name: str) -> list[int]:
        if self._nameless:
            number = name.removeprefix("class-")
            return [int(number)] if number != name and number.isdecimal() else []
        return self._ids_of.get(name, [])


def detections(
    candidates: Candidates,
    selection: Selection,
    letterbox: Letterbox,
    keypoints: NDArray[np.float64] | None = None,
) -> Detections:
    """The selected candidates in pixels of the frame; `keypoints` are theirs already."""
    kept = selection.kept
    return Detections(
        boxes=letterbox.boxes_to_frame(candidates.boxes[kept]),
        confidence=np.minimum(candidates.confidence[kept], np.float32(1.0)),
        class_id=candidates.class_id[kept].astype(np.int32),
        keypoints=keypoints,
        candidates=selection.passing,
    )


def keypoints_to_frame(
    rows: NDArray[np.float32], shape: tuple[int, int], letterbox: Letterbox
) -> NDArray[np.float64]:
    """`rows` `[n, K x 2 or 3]` in pixels of the input as `[n, K, 3]` of the frame; without a third, sure."""
    points = rows.reshape(len(rows), *shape)
    keypoints = np.ones((len(points), shape[0], 3), np.float64)
    keypoints[..., :2] = letterbox.points_to_frame(points[..., :2])
    if shape[1] == 3:
        keypoints[..., 2] = np.clip(points[..., 2], 0.0, 1.0)
    return keypoints


def corners(centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """x1, y1, x2, y2 `[n, 4]` of centre x, y, width, height `[4, n]`."""
    half = centres[2:] / 2
    return np.concatenate([centres[:2] - half, centres[:2] + half]).T


def check_confidences(confidence: NDArray[np.float32]) -> None:
    """Raises: TransientError (NaN, or beyond 1)."""
    greatest = float(confidence.max(initial=0.0))
    # Written so that NaN fails too.
    if not greatest <= GREATEST_CONFIDENCE:
        raise TransientError(
            f"the model's greatest confidence is {greatest:g}, not within 0..1: "
            "half precision may have overflowed, or the export lacks the sigmoid",
            code=Code.MODEL,
        )


def check_finite(*numbers: NDArray[np.float32]) -> None:
    """Raises: TransientError (one is NaN or infinite)."""
    if not all(np.isfinite(each).all() for each in numbers):
        raise TransientError(
            "the model gave NaN or infinity for a box or a keypoint; half precision may have overflowed",
            code=Code.MODEL,
        )


def class_ids(numbers: NDArray[np.float32], class_names: Mapping[int, str]) -> NDArray[np.intp]:
    """What a model gave for classes `[n]` as whole numbers.

    Raises: TransientError (one is no class of `class_names`, or of any model's where they are none).
    """
    classes = len(class_names) or _MOST_CLASSES
    # Written so that NaN fails too.
    if not ((numbers > -0.5) & (numbers < classes - 0.5)).all():
        raise TransientError(
            f"the model gave class {numbers.min():g}..{numbers.max():g}; it has {classes}", code=Code.MODEL
        )
    return np.rint(numbers).astype(np.intp)


def _shortest_side(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides: NDArray[np.float64] = boxes[:, 2:] - boxes[:, :2]
    return np.minimum(sides[:, 0], sides[:, 1])
