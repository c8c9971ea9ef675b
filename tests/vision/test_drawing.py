from __future__ import annotations

import numpy as np
import pytest

from agent.domain.detections import Detections, no_detections
from agent.vision.drawing import draw

GREY = np.full((200, 300, 3), 90, np.uint8)


def one(box: list[float], points: int = 0, sure: float = 0.9) -> Detections:
    keypoints = np.tile(np.array([150.0, 120.0, sure]), (1, points, 1)) if points else None
    return Detections(
        boxes=np.array([box]),
        confidence=np.array([0.87], np.float32),
        class_id=np.array([3], np.int32),
        keypoints=keypoints,
    )


def test_draw_leaves_the_picture_itself_alone() -> None:
    before = GREY.copy()
    drawn = draw(GREY, one([50, 60, 250, 180]), {3: "cat"})
    np.testing.assert_array_equal(GREY, before)
    assert drawn.shape == GREY.shape
    assert (drawn[60, 150] != GREY[60, 150]).any()
    assert (drawn[120, 250] != GREY[120, 250]).any()
    assert (drawn[120, 150] == GREY[120, 150]).all()


@pytest.mark.parametrize("box", [[0, 0, 300, 200], [0, 0, 0, 0], [299, 199, 300, 200]])
def test_draw_keeps_labels_inside_at_the_borders(box: list[float]) -> None:
    drawn = draw(GREY, one(box), {})
    assert (drawn != GREY).any()


@pytest.mark.parametrize(("points", "sure", "shown"), [(17, 0.9, True), (4, 0.9, True), (17, 0.1, False)])
def test_draw_shows_the_keypoints_that_the_model_is_sure_of(points: int, sure: float, shown: bool) -> None:
    drawn = draw(GREY, one([50, 60, 250, 180], points, sure), {3: "cat"})
    assert (drawn[120, 150] != GREY[120, 150]).any() == shown


def test_draw_of_nothing_is_a_copy() -> None:
    drawn = draw(GREY, no_detections(), {})
    np.testing.assert_array_equal(drawn, GREY)
    assert not np.shares_memory(drawn, GREY)
