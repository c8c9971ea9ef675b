"""From candidates to detections, the same for every family: limits by class, smallness, suppression."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.domain.considered import Considered
from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.fates import Fates
from agent.domain.thresholds import Thresholds
from agent.vision.heads.sifting import Near, floor_of, sift
from agent.vision.letterbox import Letterbox
from agent.vision.nms import suppress

GREATEST_CONFIDENCE: Final = 1.01
"""A quantised sigmoid may come out a step above 1; a logit is far beyond."""

# Where a file names no classes: past this a number is none, but something else misread.
_MOST_CLASSES: Final = 65_536


class Candidates(NamedTuple):
    """Boxes that may count: `boxes` float32 `[n, 4]`, x1, y1, x2, y2 in pixels of the input.

    `confidence` float32 `[n]`; `class_id` whole numbers `[n]`, from 0 on. `left_out` weak ones came near as
    well, but are not among them (see `Near`): all that is above `known_from` is.
    """

    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer]
    left_out: int = 0
    known_from: float = 0.0


class Selection(NamedTuple):
    """`kept`: indices of candidates, by falling confidence. `passing`: how many were confident enough.

    `fates`: what became of all, those left out among them. `considered`: all of them, where somebody asks.
    """

    kept: NDArray[np.intp]
    passing: int
    fates: Fates
    considered: Considered | None = None


class Selector:
    """The rules for what counts, by the classes of one model. Stateless: every lane calls it.

    Classes without a name go by ``class-<id>``. `suppresses` is False for what the model has sifted itself;
    `at_most` bounds the objects of a frame where the family does so.
    """

    def __init__(
        self, class_names: Mapping[int, str], *, suppresses: bool = True, at_most: int | None = None
    ) -> None:
        self._suppresses = suppresses
        self._at_most = at_most
        self._nameless = not class_names
        self._ids_of: dict[str, list[int]] = {}
        for class_id, name in class_names.items():
            self._ids_of.setdefault(name, []).append(class_id)

    def least(self, thresholds: Thresholds) -> float:
        """The lowest confidence above which a box of any class may count."""
        if not thresholds.by_class:
            return thresholds.confidence
        known = (value for name, value in thresholds.by_class.items() if self._ids(name))
        return min((thresholds.confidence, *known))

    def near(self, confidence: NDArray[np.float32], thresholds: Thresholds) -> Near:
        """Which boxes are looked at: all that may count, and some that come near, where that is asked for."""
        least = self.least(thresholds)
        return sift(confidence, least=least, floor=floor_of(thresholds, least))

    def thinned(self, candidates: Candidates, thresholds: Thresholds) -> Candidates:
        """The same choice, for families that decode before they know confidences."""
        at, left_out, known_from = self.near(candidates.confidence, thresholds)
        confidence, class_id = candidates.confidence[at], candidates.class_id[at]
        return Candidates(candidates.boxes[at], confidence, class_id, left_out, known_from)

    def select(self, candidates: Candidates, letterbox: Letterbox, thresholds: Thresholds) -> Selection:
        """Which candidates count. A box too small neither counts nor suppresses."""
        boxes, confidence, class_id = candidates.boxes, candidates.confidence, candidates.class_id
        limits = self._limits(class_id, thresholds)
        passing = confidence > limits
        passed = confident = int(np.count_nonzero(passing))
        if thresholds.min_side_px > 0:
            passing &= _shortest_side(letterbox.boxes_to_frame(boxes)) >= thresholds.min_side_px
            passed = int(np.count_nonzero(passing))
        chosen = np.flatnonzero(passing)
        most = thresholds.max_objects if self._at_most is None else min(thresholds.max_objects, self._at_most)
        if self._suppresses:
            order = suppress(
                boxes[chosen], confidence[chosen], class_id[chosen], iou=thresholds.iou, limit=most
            )
        else:
            order = np.argsort(-confidence[chosen], kind="stable")[:most]
        under, off = self._weak(candidates, limits, thresholds, confident)
        # Once a frame has its most objects, suppression looks no further.
        rest = passed - len(order)
        suppressed, surplus = (rest, 0) if len(order) < most else (0, rest)
        fates = Fates(under, off, confident - passed, suppressed, surplus, reported=len(order))
        considered = None if thresholds.floor is None else self._considered(candidates, letterbox)
        return Selection(chosen[order], confident, fates, considered)

    def _weak(
        self,
        candidates: Candidates,
        limits: NDArray[np.float32] | float,
        thresholds: Thresholds,
        confident: int,
    ) -> tuple[int, int]:
        """How many are under their threshold, and how many of a class that is switched off."""
        if isinstance(limits, float) and thresholds.floor is None:
            return candidates.left_out, 0
        near = candidates.confidence > floor_of(thresholds, self.least(thresholds))
        off = 0
        if not isinstance(limits, float) and (switched_off := limits > 1).any():
            off = int(np.count_nonzero(near & switched_off))
        return int(np.count_nonzero(near)) + candidates.left_out - confident - off, off

    def _considered(self, candidates: Candidates, letterbox: Letterbox) -> Considered:
        return Considered(
            boxes=candidates.boxes,
            confidence=candidates.confidence,
            class_id=candidates.class_id,
            known_from=candidates.known_from,
            frame=(letterbox.frame.width_px, letterbox.frame.height_px),
            corner=(letterbox.left_px, letterbox.top_px),
            gain=(letterbox.gain_x, letterbox.gain_y),
            suppresses=self._suppresses,
            at_most=self._at_most,
        )

    def _limits(self, class_id: NDArray[np.integer], thresholds: Thresholds) -> NDArray[np.float32] | float:
        """The least confidence of each candidate; a number where it is one for all."""
        named = [(self._ids(name), value) for name, value in thresholds.by_class.items()]
        if not any(ids for ids, _ in named) or not len(class_id):
            return float(thresholds.confidence)
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
        fates=selection.fates,
        considered=selection.considered,
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
