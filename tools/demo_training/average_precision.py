"""Average precision as COCO defines it.

Source: Lin et al., Microsoft COCO (2014), and the detection metrics at https://cocodataset.org/#detection-eval:
precision made monotone, sampled at 101 recalls, overlaps 0.50 to 0.95 in steps of 0.05.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERLAPS = np.linspace(0.50, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class Scored:
    """One picture's answer and truth.

    `boxes` `[N, 4]` and `true_boxes` `[M, 4]`: x1, y1, x2, y2 in the same pixels. `confidence` `[N]`.
    `class_id` `[N]` and `true_class_id` `[M]`: integers.
    """

    boxes: NDArray[np.float64]
    confidence: NDArray[np.floating]
    class_id: NDArray[np.integer]
    true_boxes: NDArray[np.float64]
    true_class_id: NDArray[np.integer]


def average_precision(pictures: list[Scored], *, classes: int) -> NDArray[np.float64]:
    """Float64 `[classes, 10]`: of each class at each of `OVERLAPS`; NaN for a class that is nowhere."""
    result = np.full((classes, len(OVERLAPS)), np.nan)
    for class_id in range(classes):
        confidence, hits, total = [], [], 0
        for picture in pictures:
            mine, true = picture.class_id == class_id, picture.true_class_id == class_id
            order = np.argsort(-picture.confidence[mine], kind="stable")
            confidence.append(picture.confidence[mine][order])
            hits.append(_hits(picture.boxes[mine][order], picture.true_boxes[true]))
            total += int(np.count_nonzero(true))
        if total:
            ranked = np.argsort(-np.concatenate(confidence), kind="stable")
            all_hits = np.concatenate(hits, axis=1)[:, ranked]
            result[class_id] = [_area(row, total) for row in all_hits]
    return result


def pairwise_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Overlap of each of N with each of M boxes: `[N, M]`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_1, area_2 = (first[:, 2:] - first[:, :2]).prod(-1), (second[:, 2:] - second[:, :2]).prod(-1)
    return np.asarray(shared / np.maximum(area_1[:, None] + area_2[None] - shared, 1e-9))


def _hits(boxes: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bool `[10, N]`: does each box, best first, find a part that none before it found, at each overlap."""
    hits = np.zeros((len(OVERLAPS), len(boxes)), np.bool_)
    overlap = pairwise_iou(boxes, truth)
    for level, least in enumerate(OVERLAPS):
        free = np.ones(len(truth), np.bool_)
        for index in range(len(boxes)):
            candidates = np.where(free, overlap[index], -1.0)
            if len(truth) and candidates.max() >= least:
                free[int(candidates.argmax())] = False
                hits[level, index] = True
    return hits


def _area(hits: NDArray[np.bool_], total: int) -> float:
    if not len(hits):
        return 0.0
    found = np.cumsum(hits)
    recall, precision = found / total, found / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.where(at < len(hits), precision[np.minimum(at, len(hits) - 1)], 0.0).mean())
