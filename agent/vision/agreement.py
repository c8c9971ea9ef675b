"""How far two results for one picture are apart, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections

_TOP = 3
_LEAST_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The most that two may differ.

    `score`: of a confidence, and of a raw output as `outputs_apart` has it. `top`: of the three strongest
    confidences, relative. `box_px`: of a box's corner and of a keypoint, in pixels of the picture.
    `keypoint`: of a keypoint's confidence.
    """

    score: float = 1e-4
    top: float = 1e-3
    box_px: float = 1e-3
    keypoint: float = 1e-3


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest differences in one picture.

    `objects` were in both; `missing` only in the reference, `extra` only here. `output` is of the raw
    outputs, None where they were not compared; `keypoint` is None without keypoints.
    """

    picture: str
    objects: int
    missing: int
    extra: int
    score: float
    top: float
    box_px: float
    keypoint: float | None
    output: float | None

    def within(self, tolerance: Tolerance) -> bool:
        """Whether all is; NaN is not."""
        return (
            not self.missing
            and not self.extra
            and self.score <= tolerance.score
            and self.top <= tolerance.top
            and self.box_px <= tolerance.box_px
            and (self.keypoint is None or self.keypoint <= tolerance.keypoint)
            and (self.output is None or self.output <= tolerance.score)
        )


def compare(
    picture: str,
    found: Detections,
    reference: Detections,
    *,
    least: float,
    tolerance: Tolerance,
    output: float | None = None,
) -> Deviation:
    """What of at least `least` confidence one has, the other must have.

    Give both with all that is weaker, where there is any: an object a hair above the limit here and a hair
    below it there is then no difference. Where the reference ends at the limit, an object that is above it by
    no more than the tolerance is not told as `extra`.
    """
    pairs, missing, free = _match(found, reference, least)
    surplus = found.confidence[free] >= least
    if not len(reference) or float(reference.confidence.min()) >= least:
        surplus = found.confidence[free] > least + tolerance.score
    mine = np.array([one for one, _ in pairs], np.intp)
    theirs = np.array([other for _, other in pairs], np.intp)
    apart = np.abs(found.confidence[mine].astype(np.float64) - reference.confidence[theirs])
    top = apart[:_TOP] / np.maximum(reference.confidence[theirs][:_TOP], 1e-9)
    boxes = np.abs(found.boxes[mine] - reference.boxes[theirs])
    keypoint = None
    if found.keypoints is not None and reference.keypoints is not None:
        points = np.abs(found.keypoints[mine] - reference.keypoints[theirs])
        boxes = np.concatenate([boxes.reshape(-1), points[..., :2].reshape(-1)])
        keypoint = _largest(points[..., 2])
    return Deviation(
        picture=picture,
        objects=len(pairs),
        missing=missing,
        extra=int(np.count_nonzero(surplus)),
        score=_largest(apart),
        top=_largest(top),
        box_px=_largest(boxes),
        keypoint=keypoint,
        output=output,
    )


def outputs_apart(
    found: Sequence[NDArray[np.generic]], reference: Sequence[NDArray[np.generic]]
) -> float | None:
    """The largest difference of raw outputs; None where their shapes differ.

    Absolute for a channel of scores, whose values stay within 1; for one of pixels relative to its largest
    value, since what is computed as the difference of two such numbers has their rounding.
    """
    if [one.shape for one in found] != [one.shape for one in reference]:
        return None
    return max(
        (_apart(mine, theirs.astype(np.float64)) for mine, theirs in zip(found, reference, strict=True)),
        default=0.0,
    )


def _apart(mine: NDArray[np.generic], theirs: NDArray[np.float64]) -> float:
    if not theirs.size:
        return 0.0
    # [N, channels, anchors] or [N, anchors, channels]: of the last two axes the longer one holds the anchors.
    anchors = -1 if theirs.ndim < 2 or theirs.shape[-1] >= theirs.shape[-2] else -2
    scale = np.maximum(np.abs(theirs).max(axis=anchors, keepdims=True, initial=0.0), 1.0)
    return _largest(np.abs(mine.astype(np.float64) - theirs) / scale)


def _match(
    found: Detections, reference: Detections, least: float
) -> tuple[list[tuple[int, int]], int, NDArray[np.intp]]:
    """Pairs (of found, of reference) by falling confidence; how many of the reference have none; which found.

    Of those found, one that pairs with a weak one of the reference is not told as without.
    """
    free = np.ones(len(found), np.bool_)
    pairs = []
    missing = 0
    for index in np.argsort(-reference.confidence, kind="stable").tolist():
        overlap = _overlap(found.boxes, reference.boxes[index])
        fits = free & (found.class_id == reference.class_id[index]) & (overlap >= _LEAST_OVERLAP)
        counts = bool(reference.confidence[index] >= least)
        if not fits.any():
            missing += counts
            continue
        distance = np.abs(found.boxes - reference.boxes[index]).max(axis=1)
        best = int(np.where(fits, distance, np.inf).argmin())
        free[best] = False
        if counts:
            pairs.append((best, index))
    return pairs, missing, np.flatnonzero(free)


def _overlap(boxes: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union with one box; two boxes without area count as one where they meet."""
    sides = np.minimum(boxes[:, 2:], other[2:]) - np.maximum(boxes[:, :2], other[:2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (other[2:] - other[:2]).prod() - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), (sides >= 0).all(axis=1).astype(np.float64))


def _largest(values: NDArray[np.float64]) -> float:
    return float(values.max()) if values.size else 0.0
