from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.vision.heads import Evidence, Output
from agent.vision.heads.choose import choose_head
from agent.vision.heads.grid import cells_at
from agent.vision.letterbox import Size


def names(count: int) -> dict[int, str]:
    return {index: f"c{index}" for index in range(count)}


def evidence(*shapes: tuple[int, ...], **known: Any) -> Evidence:
    everything: dict[str, Any] = {
        "task": "detect",
        "class_names": None,
        "keypoint_shape": None,
        "end_to_end": False,
        "input_size": Size(640, 640),
        "element": "float32",
        "input_names": ("images",),
        "said": {},
    }
    outputs = tuple(Output(f"output{index}", shape) for index, shape in enumerate(shapes))
    return Evidence(**({"outputs": outputs} | everything | known))


@pytest.mark.parametrize(
    ("known", "task", "classes", "index"),
    [
        (evidence((1, 84, 8400), class_names=names(80)), "detect", 80, 0),
        (evidence((1, 5, 8400), class_names=names(1)), "detect", 1, 0),
        # The trap: as many rows as a list of finished boxes has numbers.
        (evidence((1, 6, 8400), class_names=names(2)), "detect", 2, 0),
        (evidence((1, 6, 300), class_names=names(2)), "detect", 2, 0),
        (evidence((1, 84, 8400), task=None), "detect", 80, 0),
        (evidence((1, 7, 34000)), "detect", 3, 0),
        (evidence((1, 7, 8500)), "detect", 3, 0),
        (evidence((1, 32, 160, 160), (1, 84, 8400), class_names=names(80)), "detect", 80, 1),
        (evidence((1, 56, 8400), task="pose", class_names=names(1), keypoint_shape=(17, 3)), "pose", 1, 0),
        (evidence((1, 39, 8400), task="pose", keypoint_shape=(17, 2)), "pose", 1, 0),
    ],
)
def test_choose_head_takes_the_family_by_its_axes(
    known: Evidence, task: str, classes: int, index: int
) -> None:
    head = choose_head(known)
    assert (head.task, len(head.class_names), head.output_names) == (task, classes, (f"output{index}",))


def test_choose_head_makes_up_names_where_there_are_none() -> None:
    assert choose_head(evidence((1, 6, 8400))).class_names == {0: "class-0", 1: "class-1"}


BLACK_YOLOX: Final = np.zeros((8400, 85), np.float32)
"""Offsets within cells, as YOLOX is exported."""


def decoded(objectness: float) -> NDArray[np.float32]:
    """Boxes about the 8400 cells of 640x640, in pixels."""
    cells, stride = cells_at(np.arange(8400), Size(640, 640), (8, 16, 32))
    values = np.full((8400, 85), 0.01, np.float32)
    values[:, :2] = (cells * stride).T
    values[:, 4] = objectness
    return values


def one(values: NDArray[np.float32]) -> tuple[Output, ...]:
    return (Output("output0", (1, *values.shape), values),)


@pytest.mark.parametrize(
    ("known", "family"),
    [
        (evidence((1, 25200, 85), class_names=names(80)), "yolov5"),
        (evidence((1, 25200, 85), task=None), "yolov5"),
        (evidence((1, 25200, 6), class_names=names(1)), "yolov5"),
        (evidence((1, 25500, 85), class_names=names(80)), "yolov5"),
        (evidence((1, 9000, 85), class_names=names(80), said={"head": "yolov7"}), "yolov5"),
        (evidence((1, 8400, 85), class_names=names(80)), "yolox"),
        (evidence((1, 8400, 6)), "yolox"),
        (evidence(class_names=names(80), outputs=one(BLACK_YOLOX)), "yolox"),
        (evidence(class_names=names(80), outputs=one(decoded(0.02))), "yolox"),
        (evidence(outputs=one(decoded(0.02)), said={"head": "YOLOX"}), "yolox"),
        (evidence(class_names=names(80), outputs=one(decoded(1.0))), "yolov5"),
        (evidence((1, 300, 6), class_names=names(2)), "end2end"),
        (evidence((1, 300, 6), class_names=names(1)), "end2end"),
        (evidence((1, 300, 6), task=None), "end2end"),
        # A list of finished boxes that has as many rows as the input has cells.
        (evidence((1, 8400, 6), class_names=names(1), end_to_end=True), "end2end"),
        (evidence((1, 8400, 6), class_names=names(1), said={"head": "nms"}), "end2end"),
        # As many rows as 296 classes and a box take.
        (evidence((1, 300, 6), class_names=names(296), end_to_end=True), "end2end"),
        (evidence((1, 300, 57), task="pose", class_names=names(1), keypoint_shape=(17, 3)), "end2end"),
        (evidence((1, 6, 8400), class_names=names(2), said={"head": "Detect"}), "yolov8"),
        (evidence((1, 1000), task="classify", class_names=names(1000)), "classify"),
        (evidence((1, 1000), task=None, said={"head": "classify"}), "classify"),
        (evidence((1, 1000, 1, 1), task="classify"), "classify"),
    ],
)
def test_choose_head_tells_the_families_apart(known: Evidence, family: str) -> None:
    assert type(choose_head(known)).__module__ == f"agent.vision.heads.{family}"


def test_finished_boxes_without_names_make_none_up() -> None:
    assert choose_head(evidence((1, 300, 6), task=None)).class_names == {}


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (evidence((1, 6, 8400), class_names=names(2), end_to_end=True), "finished boxes"),
        (evidence((1, 1000, 85), class_names=names(80)), "YOLOv5's .* not with the anchors"),
        (evidence((1, 8400, 84), class_names=names(80)), "axes swapped"),
        # As wide as finished boxes, but with as many rows as the input has anchors.
        (evidence((1, 8400, 6), class_names=names(2)), "axes swapped"),
        (evidence(outputs=one(decoded(0.02)[:, :6])), "say `head` and `names`"),
        (evidence((1, 25200, 6), class_names=names(2)), "nothing here decodes"),
        (evidence((1, 8400, 57), task="pose", class_names=names(1), keypoint_shape=(17, 3)), "names 1 class"),
        (evidence(outputs=one(decoded(0.02))), "say `head` and `names`"),
        (evidence((1, 56, 8400), task="pose", class_names=names(1)), "lacks kpt_shape"),
        (evidence((1, 84, 8400), class_names=names(79)), "names 79 classes"),
        (evidence((1, 84, 1234)), "known are .*YOLOv8"),
        # A pose model that says nothing of itself: its keypoints are no confidences of 52 classes.
        (evidence(task=None, outputs=one(np.full((56, 8400), 200, np.float32))), "say `task` and `names`"),
        (evidence((1, 1000), class_names=names(1000)), "say task=classify"),
        (evidence((20, 7)), "YOLOv7's with suppression"),
        (evidence((1, 84, 8400), class_names=names(80), said={"head": "yolox"}), "head=yolox of 80 classes"),
        (evidence(), "an output of nothing"),
    ],
)
def test_choose_head_says_what_an_unknown_layout_looks_like(known: Evidence, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        choose_head(known)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"mean": "[0.5, 0.5]"}, "metadata mean"),
        ({"std": "[0.5, 0.5, 0]"}, "metadata std"),
        ({"activation": "relu"}, "metadata activation"),
        ({}, "say `activation`"),
    ],
)
def test_a_classifier_that_leaves_a_doubt_is_refused(said: dict[str, str], told: str) -> None:
    outputs = (Output("output0", (1, 4), np.full(4, 0.5, np.float32)),)
    with pytest.raises(ValueError, match=told):
        choose_head(evidence(task="classify", outputs=outputs, said=said))
