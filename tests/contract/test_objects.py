from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.objects import to_objects
from agent.domain.detections import Detections, no_detections


def detections(boxes: list[list[float]], keypoints: list[list[list[float]]] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        confidence=np.linspace(0.9134567, 0.3, count, dtype=np.float32),
        class_id=np.arange(count, dtype=np.int32),
        keypoints=None if keypoints is None else np.array(keypoints, np.float64),
    )


def test_to_objects_writes_the_contract() -> None:
    (one,) = to_objects(
        detections([[128, 72, 640, 720]], [[[64, 36, 0.5], [-3, 900, 1]]]),
        {0: "person"},
        width_px=1280,
        height_px=720,
    )
    assert json.loads(one.model_dump_json(by_alias=True)) == {
        "class": "person",
        "class_id": 0,
        "confidence": pytest.approx(0.9134567, abs=1e-7),
        "box": [0.1, 0.1, 0.5, 1.0],
        "keypoints": [[0.05, 0.05, 0.5], [0.0, 1.0, 1.0]],
    }


def test_to_objects_keeps_the_order_and_names_the_nameless() -> None:
    objects = to_objects(detections([[0, 0, 1, 1]] * 3), {0: "cat", 2: "dog"}, width_px=10, height_px=10)
    assert [(one.class_name, one.class_id) for one in objects] == [("cat", 0), ("class-1", 1), ("dog", 2)]
    assert [one.keypoints for one in objects] == [None] * 3
    assert "keypoints" not in objects[0].model_dump(by_alias=True)


def test_to_objects_of_nothing_is_nothing() -> None:
    assert to_objects(no_detections(17), {}, width_px=10, height_px=10) == ()


@given(
    box=st.tuples(*[st.floats(0, 1920) for _ in range(4)]),
    confidence=st.floats(0, 1, width=32),
)
def test_to_objects_keeps_the_digits_that_the_contract_promises(
    box: tuple[float, ...], confidence: float
) -> None:
    found = Detections(
        boxes=np.array([box]),
        confidence=np.array([confidence], np.float32),
        class_id=np.zeros(1, np.int32),
    )
    (one,) = to_objects(found, {}, width_px=1920, height_px=1920)
    assert one.confidence == pytest.approx(confidence, rel=5e-8, abs=1e-16)
    assert one.box == pytest.approx([side / 1920 for side in box], rel=5e-9, abs=1e-17)


@given(side=st.floats(1e-3, 1919))
def test_to_objects_writes_no_more_digits_than_it_must(side: float) -> None:
    (one,) = to_objects(detections([[side] * 4]), {}, width_px=1920, height_px=1920)
    text = json.dumps(one.box[0]).split("e")[0]
    assert len(text.replace(".", "").lstrip("0")) <= 9
