"""The heads of finished boxes, objectness and classes against what the reference implementations found.

The arrays are written by `tools/head_references`, run by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.domain.thresholds import Thresholds
from agent.vision.heads import Evidence, Output
from agent.vision.heads.choose import choose_head
from agent.vision.letterbox import Letterbox, Size

REFERENCES: Final = Path(__file__).parent / "references"
NAMES: Final = ("yolov5", "yolox", "yolox_decoded", "yolov10", "yolo26", "yolo26_pose", "nms", "classify")
FAMILIES: Final = {"yolox_decoded": "yolox"} | dict.fromkeys(
    ("yolov10", "yolo26", "yolo26_pose", "nms"), "end2end"
)


def evidence(facts: dict[str, Any], outputs: list[NDArray[np.float32]]) -> Evidence:
    return Evidence(
        task=facts["task"],
        class_names={number: f"c{number}" for number in range(facts["classes"])},
        keypoint_shape=tuple(facts["keypoint_shape"]) if "keypoint_shape" in facts else None,
        end_to_end=facts.get("end_to_end", False),
        input_size=Size(*facts["input_size"]),
        element="float32",
        input_names=tuple(facts["inputs"]),
        outputs=tuple(
            Output(name, one.shape, one[0]) for name, one in zip(facts["outputs"], outputs, strict=True)
        ),
        said=facts["said"],
    )


@pytest.mark.parametrize("name", NAMES)
def test_head_finds_what_the_reference_found(name: str) -> None:
    with np.load(REFERENCES / f"{name}.npz") as stored:
        facts = json.loads(str(stored["facts"]))
        outputs = [stored[f"out_{index}"] for index in range(len(facts["outputs"]))]
        boxes, confidence, class_id = (stored[key] for key in ("boxes", "confidence", "class_id"))
    head = choose_head(evidence(facts, outputs))
    assert type(head).__module__.endswith(f".{FAMILIES.get(name, name)}")
    assert len(confidence) > 2
    assert len(np.unique(class_id)) > 2
    size = Size(*facts["input_size"])
    letterbox = Letterbox.fit(Size(*facts["frame_size"]), size, head.feeding.placement)
    thresholds = Thresholds(confidence=facts["confidence"], iou=facts.get("iou", 0.45))
    found = head.decode([output[0] for output in outputs], letterbox, thresholds)
    assert len(found) == len(confidence)
    # Nearly equal confidences may stand in another order.
    ours = np.lexsort((*found.boxes.round(1).T, found.class_id))
    theirs = np.lexsort((*boxes.round(1).T, class_id))
    np.testing.assert_array_equal(found.class_id[ours], class_id[theirs])
    np.testing.assert_allclose(found.confidence[ours], confidence[theirs], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.boxes[ours], boxes[theirs], rtol=0, atol=1e-3)
    if "keypoints" in facts:
        assert found.keypoints is not None
        wanted = np.array(facts["keypoints"])[theirs]
        np.testing.assert_allclose(found.keypoints[ours], wanted, rtol=0, atol=1e-3)
