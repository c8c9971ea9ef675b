"""Files of each family through `load_model`: the right head, fed as its family wants, finds a colour."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.detections import Detections
from agent.domain.errors import RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from tests.onnx_files import colour_answer, constant_detector

NAMES: Final = "['first', 'second', 'third']"
SIZE: Final = (64, 96)
CELLS: Final = 8 * 12 + 4 * 6 + 2 * 3
RED, BLUE = (0, 0, 255), (255, 0, 0)


def picture(height_px: int, width_px: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def load(path: Path, **options: str) -> OnnxDetector:
    model = load_model(name="m", path=path, **options)  # type: ignore[arg-type]
    assert isinstance(model, OnnxDetector)
    return model


def detect(model: OnnxDetector, pixels: NDArray[np.uint8], **thresholds: float) -> Detections:
    (found,), _ = model.detect([Look(pixels, Thresholds(**thresholds))])  # type: ignore[arg-type]
    return found


def yolov5(folder: Path, metadata: dict[str, str]) -> Path:
    """Class n is as sure as channel n of the input's middle, over 1."""
    answer = np.zeros((1, 3 * CELLS, 8), np.float32)
    answer[0, 7, :5] = [48, 32, 20, 10, 1]
    places: dict[tuple[int, ...], int] = {(0, 7, 5 + channel): channel for channel in range(3)}
    return colour_answer(
        folder / "v5.onnx",
        answer,
        colour_at=places,
        window=(28, 0, 36, 96),
        size=SIZE,
        scale=1,
        metadata=metadata,
    )


def yolox(folder: Path, metadata: dict[str, str]) -> Path:
    """Class n is as sure as channel n of the upper left corner, over 255."""
    answer = np.zeros((1, CELLS, 8), np.float32)
    # Row 1, column 2 of the level of stride 16.
    answer[0, 96 + 6 + 2, :5] = [0.5, 0.25, math.log(2), math.log(1), 1]
    places: dict[tuple[int, ...], int] = {(0, 96 + 6 + 2, 5 + channel): channel for channel in range(3)}
    return colour_answer(
        folder / "x.onnx",
        answer,
        colour_at=places,
        window=(0, 0, 8, 8),
        size=SIZE,
        scale=255,
        metadata=metadata,
    )


def end2end(folder: Path, metadata: dict[str, str]) -> Path:
    """Row n, of class n, is as sure as channel n of the input's middle, over 1."""
    answer = np.zeros((1, 20, 6), np.float32)
    answer[0, :3] = [[38, 27, 58, 37, 0, number] for number in range(3)]
    return colour_answer(
        folder / "e.onnx",
        answer,
        colour_at={(0, number, 4): number for number in range(3)},
        window=(28, 0, 36, 96),
        size=SIZE,
        scale=1,
        metadata=metadata,
    )


def classifier(folder: Path, metadata: dict[str, str]) -> Path:
    """The logit of class n is as large as channel n of the whole input, times 10, less 5."""
    return colour_answer(
        folder / "c.onnx",
        np.full((1, 3), -5, np.float32),
        colour_at={(0, channel): channel for channel in range(3)},
        window=(0, 0, 64, 64),
        size=(64, 64),
        scale=0.1,
        metadata=metadata,
    )


@pytest.mark.parametrize(("colour", "class_id"), [(RED, 0), (BLUE, 2)])
def test_yolov5_is_fed_rgb_in_the_middle(tmp_path: Path, colour: tuple[int, int, int], class_id: int) -> None:
    model = load(yolov5(tmp_path, {"names": NAMES, "stride": "32"}))
    # Laid into 64x96 at half its size, 8 rows from above.
    found = detect(model, picture(96, 192, colour))
    assert found.class_id.tolist() == [class_id]
    assert found.confidence.tolist() == pytest.approx([1.0])
    assert found.boxes.tolist() == [[76, 38, 116, 58]]


@pytest.mark.parametrize(("colour", "class_id"), [(BLUE, 0), (RED, 2)])
@pytest.mark.parametrize("metadata", [{}, {"names": NAMES}, {"head": "yolox"}])
def test_yolox_is_fed_bgr_in_the_corner(
    tmp_path: Path, metadata: dict[str, str], colour: tuple[int, int, int], class_id: int
) -> None:
    found = detect(load(yolox(tmp_path, metadata)), picture(96, 192, colour))
    assert found.class_id.tolist() == [class_id]
    assert found.confidence.tolist() == pytest.approx([1.0])
    # 40, 20 and 32 x 16 in the input, twice that in the frame.
    np.testing.assert_allclose(found.boxes, [[48, 24, 112, 56]], atol=1e-4)


@pytest.mark.parametrize(
    "metadata",
    [
        {"task": "detect", "names": NAMES, "end2end": "True", "head": "v10Detect"},
        {"task": "detect", "names": NAMES, "args": "{'nms': True, 'batch': 1}"},
        {},
    ],
)
def test_finished_boxes_are_fed_rgb_in_the_middle(tmp_path: Path, metadata: dict[str, str]) -> None:
    model = load(end2end(tmp_path, metadata))
    found = detect(model, picture(96, 192, BLUE))
    assert found.class_id.tolist() == [2]
    assert found.boxes.tolist() == [[76, 38, 116, 58]]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"args": "{'nms': True}"}, "unknown"),
        ({"args": "{'nms': True, 'conf': 0.3}"}, 0.3),
        ({"end2end": "True", "args": "{oddly written}"}, 0.0),
        ({"args": "{oddly written}"}, "unknown"),
    ],
)
def test_loading_says_that_no_threshold_below_the_baked_one_counts(
    tmp_path: Path, said: dict[str, str], told: object
) -> None:
    path = end2end(tmp_path, {"task": "detect", "names": NAMES, **said})
    with capture_logs() as logs:
        load(path)
    events = [line for line in logs if line["event"] == "model.suppression_is_inside"]
    assert [line["no_threshold_below"] for line in events] == [told]


def test_a_classifier_sees_the_middle_and_finds_the_whole_frame(tmp_path: Path) -> None:
    model = load(classifier(tmp_path, {"task": "classify", "names": NAMES, "stride": "1"}), shape="auto")
    assert model.facts.task == "classify"
    pixels = picture(100, 300, BLUE)
    pixels[:, 95:205] = RED
    found = detect(model, pixels)
    assert found.class_id.tolist() == [0]
    assert found.confidence.tolist() == pytest.approx([1.0], abs=1e-3)
    assert found.boxes.tolist() == [[0, 0, 300, 100]]


def test_a_classifier_is_normalised_as_its_file_says(tmp_path: Path) -> None:
    said = {"task": "classify", "mean": "[1, 0, 0]", "std": "[1, 1, 0.5]", "activation": "none"}
    found = detect(load(classifier(tmp_path, said)), picture(64, 64, RED), confidence=0.3)
    # Logits -5, -5 and -5: red is taken away by its mean.
    assert found.confidence.tolist() == pytest.approx([1 / 3] * 3)


def test_a_refusal_tells_the_nearest_head_and_what_the_file_says_in_bounds(tmp_path: Path) -> None:
    metadata = {f"key{number:02d}": "x" * 200 for number in range(30)}
    metadata |= {"task": "detect", "names": str({n: f"class number {n}" for n in range(80)})}
    path = constant_detector(tmp_path / "odd.onnx", np.zeros((1, 100, 84), np.float32), metadata=metadata)
    with pytest.raises(RefusedError) as caught:
        load(path)
    message = caught.value.message
    assert "YOLOv8's [N, 4 + classes, anchors] with the last two axes swapped" in message
    assert "images float32 [1, 3, 64, 96]" in message
    assert "output0 float32 [1, 100, 84]" in message
    assert "Metadata: task=detect, names=80 (class number 0, class number 1, class number 2, …)" in message
    assert message.endswith("and 20 more")
    assert len(message) < 1500
