"""Both trained models against what the trainer's own library found, recorded to three decimals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.prepared import PreparedGraphs
from agent.adapters.onnx.preparing import Rewrite
from agent.domain.thresholds import Thresholds
from agent.ports import Look

pytestmark = pytest.mark.testdata

# Half of the last digit recorded, and what float32 loses on the way.
BOX_WITHIN_PX = 1e-3
CONFIDENCE_WITHIN = 2e-6
POINT_CONFIDENCE_WITHIN = 1e-3


def load(testdata: Path, name: str, **options: Any) -> OnnxDetector:
    model = load_model(name="golden", path=testdata / "models" / f"{name}.onnx", threads=2, **options)
    assert isinstance(model, OnnxDetector)
    return model


def golden(testdata: Path, name: str) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((testdata / "golden" / f"{name}.json").read_text())
    return recorded


def pictures(testdata: Path, recorded: dict[str, Any]) -> list[tuple[NDArray[np.uint8], list[Any]]]:
    found: list[tuple[NDArray[np.uint8], list[Any]]] = []
    for name, objects in recorded["images"].items():
        pixels = cv2.imread(str(testdata / "images" / name))
        assert pixels is not None
        found.append((pixels.astype(np.uint8, copy=False), objects))
    wanted = {int(number): objects for number, objects in recorded["frames_of_vtest.avi"].items()}
    clip = cv2.VideoCapture(str(testdata / "clips" / "vtest.avi"))
    for number in range(max(wanted) + 1):
        read, pixels = clip.read()
        assert read
        if number in wanted:
            found.append((pixels.astype(np.uint8, copy=False), wanted[number]))
    clip.release()
    return found


@pytest.mark.parametrize("rewrite", ["off", "exact", "cut"])
@pytest.mark.parametrize("name", ["yolo11n-person", "yolo11n-pose"])
def test_detections_equal_the_golden_ones(
    testdata: Path, tmp_path: Path, name: str, rewrite: Rewrite
) -> None:
    model = load(testdata, name, rewrite=rewrite, prepared=PreparedGraphs(folder=tmp_path / "graphs"))
    assert model.facts.graph == {"off": "exported"}.get(rewrite, rewrite)
    compared = 0
    for pixels, objects in pictures(testdata, golden(testdata, name)):
        (found,), _ = model.detect([Look(pixels, Thresholds(confidence=0.25, iou=0.45))])
        assert found.class_id.tolist() == [one["class"] for one in objects]
        boxes = np.array([one["xyxy"] for one in objects]).reshape(-1, 4)
        np.testing.assert_allclose(found.boxes, boxes, rtol=0, atol=BOX_WITHIN_PX)
        confidence = [one["confidence"] for one in objects]
        np.testing.assert_allclose(found.confidence, confidence, rtol=0, atol=CONFIDENCE_WITHIN)
        if found.keypoints is not None:
            points = np.array([one["keypoints"] for one in objects]).reshape(-1, 17, 3)
            np.testing.assert_allclose(found.keypoints[..., :2], points[..., :2], rtol=0, atol=BOX_WITHIN_PX)
            np.testing.assert_allclose(
                found.keypoints[..., 2], points[..., 2], rtol=0, atol=POINT_CONFIDENCE_WITHIN
            )
        compared += len(found)
    assert compared > 10


def test_a_batch_finds_what_single_pictures_find(testdata: Path) -> None:
    chosen = [pixels for pixels, _ in pictures(testdata, golden(testdata, "yolo11n-pose"))][:4]
    looks = [Look(pixels, Thresholds()) for pixels in chosen]
    alone = load(testdata, "yolo11n-pose")
    together = load(testdata, "yolo11n-pose", max_batch=4)
    singles = [alone.detect([look])[0][0] for look in looks]
    for single, batched in zip(singles, together.detect(looks)[0], strict=True):
        np.testing.assert_allclose(batched.boxes, single.boxes, atol=1e-2)
        np.testing.assert_allclose(batched.confidence, single.confidence, atol=1e-4)


def test_the_cameras_own_aspect_finds_the_same_people(testdata: Path) -> None:
    model = load(testdata, "yolo11n-person", shape="auto")
    recorded = golden(testdata, "yolo11n-person")["images"]
    for name, objects in recorded.items():
        pixels = cv2.imread(str(testdata / "images" / name))
        assert pixels is not None
        (found,), _ = model.detect([Look(pixels.astype(np.uint8, copy=False), Thresholds(confidence=0.5))])
        sure = [one["xyxy"] for one in objects if one["confidence"] > 0.5]
        assert len(found) == len(sure)
        for box in sure:
            assert np.abs(found.boxes - box).max(axis=1).min() < 15
