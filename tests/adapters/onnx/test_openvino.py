"""OpenVINO for real, where onnxruntime-openvino is installed: in an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.accelerator import Accelerator, Precision
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds
from agent.ports import Look

pytestmark = [
    pytest.mark.testdata,
    pytest.mark.skipif(
        "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="this ONNX Runtime has no OpenVINO",
    ),
]


def load(testdata: Path, precision: Precision) -> OnnxDetector:
    model = load_model(
        name="golden",
        path=testdata / "models" / "yolo11n-person.onnx",
        provider="openvino",
        strict_provider=True,
        accelerator=Accelerator(precision=precision),
    )
    assert isinstance(model, OnnxDetector)
    return model


def found_by(model: OnnxDetector, pixels: NDArray[np.uint8]) -> Detections:
    (found,), _ = model.detect([Look(pixels, Thresholds(confidence=0.25, iou=0.45))])
    return found


def test_every_node_runs_on_openvino(testdata: Path) -> None:
    assignment = load(testdata, "fp32").session.assignment
    assert assignment is not None
    assert assignment.is_whole
    assert set(assignment.nodes) == {"openvino"}


def test_fp32_finds_what_the_golden_results_say_and_bf16_nearly(testdata: Path) -> None:
    recorded = json.loads((testdata / "golden" / "yolo11n-person.json").read_text())
    whole, half = load(testdata, "fp32"), load(testdata, "bf16")
    assert (whole.facts.provider_used, half.facts.provider_used) == ("openvino", "openvino")
    for name, objects in recorded["images"].items():
        pixels = cv2.imread(str(testdata / "images" / name))
        assert pixels is not None
        exact = found_by(whole, pixels.astype(np.uint8, copy=False))
        boxes = np.array([one["xyxy"] for one in objects])
        confidence = np.array([one["confidence"] for one in objects])
        np.testing.assert_allclose(exact.boxes, boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(exact.confidence, confidence, rtol=1e-5)

        near = found_by(half, pixels.astype(np.uint8, copy=False))
        nearest = np.abs(boxes[:, None] - near.boxes[None]).max(axis=2).min(axis=1)
        assert nearest.max() < 5.0
