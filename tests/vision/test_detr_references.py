"""The DETR heads against what the reference implementations made of the same outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.domain.thresholds import Thresholds
from agent.vision.heads import Evidence, Output
from agent.vision.heads.choose import choose_head
from agent.vision.letterbox import Letterbox, Size

REFERENCES = sorted((Path(__file__).parent / "references").glob("*detr*.npz")) + sorted(
    (Path(__file__).parent / "references").glob("dfine*.npz")
)


def evidence(facts: dict[str, Any], outputs: list[np.ndarray[Any, Any]]) -> Evidence:
    return Evidence(
        task=facts["task"],
        class_names=None if facts["classes"] is None else {n: f"c{n}" for n in range(facts["classes"])},
        keypoint_shape=None,
        end_to_end=False,
        input_size=Size(*facts["input_size"]),
        element="float32",
        input_names=tuple(facts["inputs"]),
        outputs=tuple(Output(name, one.shape) for name, one in zip(facts["outputs"], outputs, strict=True)),
        said=facts["said"],
    )


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_head_finds_what_the_reference_found(path: Path) -> None:
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        outputs = [stored[f"out_{index}"] for index in range(len(facts["outputs"]))]
        boxes, confidence, class_id = (stored[name] for name in ("boxes", "confidence", "class_id"))
    head = choose_head(evidence(facts, outputs))
    assert len(confidence) > 5
    given = [outputs[facts["outputs"].index(name)][0] for name in head.output_names]
    letterbox = Letterbox.fit(Size(*facts["frame_size"]), Size(*facts["input_size"]), head.feeding.placement)
    found = head.decode(given, letterbox, Thresholds(confidence=facts["confidence"]))
    assert len(found) == len(confidence)
    assert (np.diff(found.confidence) <= 0).all()
    # Some references keep the order of queries, and equal confidences have none: each has its partner.
    agree = found.class_id[:, None] == class_id
    agree &= np.abs(found.confidence[:, None] - confidence) <= 1e-5
    agree &= (np.abs(found.boxes[:, None] - boxes) <= 1e-3).all(axis=2)
    assert agree.any(axis=0).all()
    assert agree.any(axis=1).all()


def test_every_layout_has_a_reference() -> None:
    assert {path.stem for path in REFERENCES} == {
        "dfine_authors",
        "dfine_transformers",
        "rfdetr_coco",
        "rfdetr_own_classes",
        "rtdetr_authors",
        "rtdetr_transformers",
        "rtdetr_ultralytics_classes",
        "rtdetr_ultralytics_rows",
    }
