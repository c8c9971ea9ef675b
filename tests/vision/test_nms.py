from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.vision.nms import MAX_CANDIDATES, suppress


def reference(
    boxes: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.int64],
    iou: float,
    limit: int,
) -> list[int]:
    """Greedy suppression, one pair at a time, in the arithmetic of the boxes."""
    zero = np.float32(0)
    waiting = sorted(range(len(boxes)), key=lambda index: (-confidence[index], index))
    kept: list[int] = []
    while waiting and len(kept) < limit:
        strongest = waiting.pop(0)
        kept.append(strongest)
        a = boxes[strongest]
        rest = []
        for other in waiting:
            b = boxes[other]
            width = max(min(a[2], b[2]) - max(a[0], b[0]), zero)
            height = max(min(a[3], b[3]) - max(a[1], b[1]), zero)
            common = width * height
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
            if class_id[other] != class_id[strongest] or not common > union * np.float32(iou):
                rest.append(other)
        waiting = rest
    return kept


@st.composite
def candidates(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes crowded onto a grid and confidences of few values, so that overlaps and ties abound."""
    count = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = draw(st.sampled_from([1.0, 0.125, 1e-3]))
    corner = np.round(rng.uniform(0, draw(st.sampled_from([10, 100])), (count, 2)) / grid) * grid
    side = np.round(rng.uniform(0, 20, (count, 2)) / grid) * grid
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    confidence = rng.choice(draw(st.sampled_from([3, 1000])), count).astype(np.float32) / np.float32(1000)
    return boxes, confidence, rng.integers(0, draw(st.sampled_from([1, 3, 80])), count)


@settings(deadline=None, max_examples=60)
@given(
    found=candidates(),
    iou=st.sampled_from([0.0, 0.3, 0.45, 0.5, 1.0]),
    limit=st.sampled_from([1, 7, 300, 1000]),
)
def test_suppress_equals_the_reference(
    found: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], iou: float, limit: int
) -> None:
    boxes, confidence, class_id = found
    kept = suppress(boxes, confidence, class_id, iou=iou, limit=limit)
    assert kept.tolist() == reference(boxes, confidence, class_id, iou, limit)


def run(boxes: list[list[float]], confidence: list[float], classes: list[int], iou: float) -> list[int]:
    kept = suppress(
        np.array(boxes, np.float32),
        np.array(confidence, np.float32),
        np.array(classes),
        iou=iou,
        limit=300,
    )
    return [int(index) for index in kept]


TWO = [[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]]  # an intersection over union of exactly one half


@pytest.mark.parametrize(
    ("confidence", "classes", "iou", "kept"),
    [
        ([0.5, 0.9], [0, 0], 0.49, [1]),
        ([0.5, 0.9], [0, 0], 0.5, [1, 0]),
        ([0.5, 0.9], [0, 1], 0.1, [1, 0]),
        ([0.7, 0.7], [0, 0], 0.1, [0]),
        ([0.7, 0.7], [3, 2], 0.1, [0, 1]),
    ],
    ids=["over", "exactly at", "two classes", "tie", "tie of two classes"],
)
def test_suppress_decides_a_pair(
    confidence: list[float], classes: list[int], iou: float, kept: list[int]
) -> None:
    assert run(TWO, confidence, classes, iou) == kept


def test_what_was_suppressed_suppresses_nothing() -> None:
    chain = [[0.0, 0.0, 10.0, 10.0], [4.0, 0.0, 14.0, 10.0], [8.0, 0.0, 18.0, 10.0]]
    assert run(chain, [0.9, 0.8, 0.7], [0, 0, 0], 0.4) == [0, 2]


def test_boxes_without_area_stay() -> None:
    assert run([[5.0, 5.0, 5.0, 5.0]] * 2, [0.9, 0.8], [0, 0], 0.45) == [0, 1]


def test_boxes_as_large_as_floats_go_do_not_warn() -> None:
    assert run([[0.0, 0.0, 3e38, 3e38]] * 2, [0.9, 0.8], [0, 0], 0.45)[0] == 0


def test_nothing_stays_of_nothing() -> None:
    assert not len(
        suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, int), iou=0.5, limit=300)
    )


def test_candidates_beyond_the_bound_are_cut_off_at_the_weak_end() -> None:
    boxes = np.tile(np.array([0, 0, 10, 10], np.float32), (MAX_CANDIDATES + 1, 1))
    boxes[0] = [100, 100, 110, 110]
    boxes[1] = [200, 200, 210, 210]
    confidence = np.full(MAX_CANDIDATES + 1, 0.5, np.float32)
    confidence[0], confidence[1] = 0.1, 0.2
    kept = suppress(boxes, confidence, np.zeros(len(boxes), int), iou=0.45, limit=300)
    assert kept.tolist() == [2, 1]
