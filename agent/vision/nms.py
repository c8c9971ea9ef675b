"""Non-maximum suppression: of boxes of one class that overlap too much, the strongest stays."""

import numpy as np
from numpy.typing import NDArray

MAX_CANDIDATES = 30_000
"""More than this are cut off at the weak end before suppression. Source: Ultralytics, `max_nms`."""

# 128 x 128 overlaps fit a core's second-level cache; larger blocks compare what the first ones decide anyway.
_BLOCK = 128


def suppress(
    boxes: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.integer],
    *,
    iou: float,
    limit: int,
) -> NDArray[np.intp]:
    """Indices of the boxes that stay, by falling confidence, at most `limit`.

    `boxes` are finite, float32 `[N, 4]`, x1, y1, x2, y2. A box goes when one of its class that stays,
    and is stronger, overlaps it by more than `iou` (intersection over union). Equal confidences: the
    earlier box is taken for the stronger, so that the answer depends on nothing else.

    Source: greedy suppression as torchvision's `nms`, per class.
    """
    order = np.argsort(-confidence, kind="stable")[:MAX_CANDIDATES]
    kept = np.empty(0, np.intp)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(kept):
            block = block[~_overlaps(boxes, class_id, kept, block, iou).any(axis=0)]
        stays = _greedy(_overlaps(boxes, class_id, block, block, iou))
        kept = np.concatenate([kept, block[stays]])
        if len(kept) >= limit:
            break
    return kept[:limit]


def _overlaps(
    boxes: NDArray[np.float32],
    class_id: NDArray[np.integer],
    stronger: NDArray[np.intp],
    weaker: NDArray[np.intp],
    iou: float,
) -> NDArray[np.bool_]:
    """`[len(stronger), len(weaker)]`: whether the pair is of one class and overlaps by more than `iou`."""
    a, b = boxes[stronger], boxes[weaker]
    # Boxes as large as a float can hold give inf - inf: not an overlap, and no reason to warn.
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.minimum(a[:, None, 2], b[:, 2])
        width -= np.maximum(a[:, None, 0], b[:, 0])
        height = np.minimum(a[:, None, 3], b[:, 3])
        height -= np.maximum(a[:, None, 1], b[:, 1])
        np.maximum(width, 0.0, out=width)
        np.maximum(height, 0.0, out=height)
        width *= height
        intersection = width
        union = ((a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))[:, None] + (b[:, 2] - b[:, 0]) * (
            b[:, 3] - b[:, 1]
        )
        union -= intersection
        union *= iou
        over: NDArray[np.bool_] = intersection > union
    over &= class_id[stronger][:, None] == class_id[weaker]
    return over


def _greedy(over: NDArray[np.bool_]) -> list[int]:
    """Which of a block, by falling strength, stay. Rows are bit sets: a block is decided in microseconds."""
    packed = np.packbits(over, axis=1, bitorder="little")
    width, raw = packed.shape[1], packed.tobytes()
    gone = 0
    stays = []
    for index in range(len(over)):
        if not gone >> index & 1:
            stays.append(index)
            gone |= int.from_bytes(raw[index * width : (index + 1) * width], "little")
    return stays
