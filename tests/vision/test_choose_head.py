from __future__ import annotations

from typing import Any

import pytest

from agent.vision.heads import Evidence, Output
from agent.vision.heads.choose import choose_head
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
    return Evidence(outputs=outputs, **(everything | known))


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


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (evidence((1, 300, 6), class_names=names(2)), "suppression inside"),
        (evidence((1, 300, 6)), "suppression inside"),
        (evidence((1, 6, 8400), class_names=names(2), end_to_end=True), "suppression inside"),
        (evidence((1, 25200, 85), class_names=names(80)), "YOLOv5"),
        (evidence((1, 56, 8400), task="pose", class_names=names(1)), "lacks kpt_shape"),
        (evidence((1, 84, 8400), class_names=names(79)), "names 79 classes"),
        (evidence((1, 84, 1234)), "YOLOv8"),
        (evidence((1, 1000), class_names=names(1000)), "YOLOv8"),
        (evidence(), "an output of nothing"),
    ],
)
def test_choose_head_says_what_an_unknown_layout_looks_like(known: Evidence, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        choose_head(known)
