"""What became of the candidates of a YOLOv8 table, counted box by box, to hold fast code against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agent.domain.fates import Fates
from agent.domain.thresholds import Thresholds
from agent.vision.letterbox import Letterbox


def slow_fates(
    table: NDArray[np.float32],
    thresholds: Thresholds,
    *,
    class_names: Mapping[int, str],
    letterbox: Letterbox,
) -> Fates:
    """Every box of a YOLOv8 table, one by one, as the documentation reads."""
    counts = dict.fromkeys(Fates._fields, 0)
    alive = []
    for column in table.T:
        class_id = int(column[4:].argmax())
        confidence = column[4 + class_id]
        limit = thresholds.by_class.get(class_names[class_id], thresholds.confidence)
        if not confidence > np.float32(thresholds.floor or 0.0):
            continue
        box = np.array([*(column[:2] - column[2:4] / 2), *(column[:2] + column[2:4] / 2)], np.float32)
        placed = letterbox.boxes_to_frame(box[None])[0]
        if limit > 1:
            counts["class_off"] += 1
        elif not confidence > np.float32(limit):
            counts["under_threshold"] += 1
        elif min(placed[2] - placed[0], placed[3] - placed[1]) < thresholds.min_side_px:
            counts["too_small"] += 1
        else:
            alive.append((float(confidence), class_id, box))
    alive.sort(key=lambda each: -each[0])
    kept: list[tuple[float, int, NDArray[np.float32]]] = []
    for each in alive:
        if any(other[1] == each[1] and _iou(other[2], each[2]) > thresholds.iou for other in kept):
            counts["suppressed"] += 1
        else:
            kept.append(each)
    counts["reported"] = min(len(kept), thresholds.max_objects)
    if len(kept) >= thresholds.max_objects:
        counts["surplus"] = len(alive) - counts["reported"]
        counts["suppressed"] = 0
    return Fates(**counts)


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    shared = sides[0] * sides[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(shared / (areas[0] + areas[1] - shared))
