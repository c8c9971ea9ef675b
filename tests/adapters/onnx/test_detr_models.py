from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.detections import Detections
from agent.domain.errors import RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from tests import detr_files


def load(path: Path, **options: Any) -> OnnxDetector:
    model = load_model(name="detr", path=path, **options)
    assert isinstance(model, OnnxDetector)
    return model


def plain(level: int, height_px: int, width_px: int) -> NDArray[np.uint8]:
    return np.full((height_px, width_px, 3), level, np.uint8)


def see(model: OnnxDetector, *pictures: NDArray[np.uint8], **thresholds: Any) -> list[Detections]:
    rules = Thresholds(**({"confidence": 0.3} | thresholds))
    return model.detect([Look(pixels, rules) for pixels in pictures])[0]


def centre_and_size(found: Detections) -> list[list[float]]:
    corners = found.boxes
    both = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    return [[round(value, 3) for value in row] for row in both.tolist()]


@pytest.mark.parametrize("size_type", ["int64", "int32", "float32"])
def test_rtdetr_is_told_width_before_height(tmp_path: Path, size_type: str) -> None:
    model = load(detr_files.rtdetr(tmp_path / "rtdetr.onnx", size_type=size_type))
    (found,) = see(model, plain(204, 200, 1000))
    assert centre_and_size(found) == [[500.0, 50.0, 200.0, 20.0], [100.0, 20.0, 100.0, 20.0]]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.4], abs=1e-5)
    assert found.class_id.tolist() == [2, 1]


def test_rtdetr_batches_have_each_their_own_size(tmp_path: Path) -> None:
    model = load(detr_files.rtdetr(tmp_path / "rtdetr.onnx"), max_batch=3)
    wide, tall = plain(102, 100, 300), plain(255, 500, 200)
    found = see(model, wide, tall, wide, tall)
    assert [centre_and_size(one)[0] for one in found] == [[150, 25, 60, 10], [100, 125, 40, 50]] * 2
    assert [round(float(one.confidence[0]), 5) for one in found] == [0.4, 1.0, 0.4, 1.0]


def test_rtdetr_of_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    path = detr_files.rtdetr(tmp_path / "rtdetr.onnx", sides=(2, 3, 64, 64), size_sides=(2, 2))
    model = load(path, max_batch=2)
    found = see(model, *[plain(255, 100, side) for side in (100, 200, 300)])
    assert [centre_and_size(one)[0][0] for one in found] == [50, 100, 150]


def test_rtdetr_pictures_are_stretched_over_the_whole_input(tmp_path: Path) -> None:
    model = load(detr_files.rtdetr(tmp_path / "rtdetr.onnx"))
    (found,) = see(model, plain(255, 20, 300))
    # A border of grey or black would pull the mean down.
    assert found.confidence[0] == 1.0


def test_rtdetr_without_names_goes_by_number_also_in_thresholds(tmp_path: Path) -> None:
    model = load(detr_files.rtdetr(tmp_path / "rtdetr.onnx"))
    assert model.facts.class_names == {}
    (found,) = see(model, plain(255, 64, 64), confidence=0.9, by_class={"class-1": 0.4, "class-2": 1.01})
    assert found.class_id.tolist() == [1]


def test_rtdetr_takes_names_from_the_metadata(tmp_path: Path) -> None:
    path = detr_files.rtdetr(tmp_path / "rtdetr.onnx", metadata={"names": "['a', 'b', 'c']"})
    assert load(path).facts.class_names == {0: "a", 1: "b", 2: "c"}


def test_a_second_input_that_no_output_explains_is_refused(tmp_path: Path) -> None:
    path = detr_files.rtdetr(tmp_path / "odd.onnx", names=("a", "b", "c"))
    with pytest.raises(RefusedError, match="orig_target_sizes int64") as caught:
        load_model(name="odd", path=path)
    assert "labels, boxes and scores" in caught.value.message


def normalised(blue: int, green: int, red: int) -> list[float]:
    """What ImageNet's normalisation makes of a colour, red first."""
    colour = np.array([red, green, blue]) / 255
    values: list[float] = ((colour - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).tolist()
    return values


def test_rfdetr_sees_the_picture_normalised_as_imagenet_is(tmp_path: Path) -> None:
    model = load(detr_files.rfdetr(tmp_path / "rfdetr.onnx"))
    colour = (110, 120, 130)
    pixels = np.full((100, 300, 3), colour, np.uint8)
    (found,) = see(model, pixels, confidence=0.01)
    by_class = dict(zip(found.class_id.tolist(), found.confidence.tolist(), strict=True))
    wanted = {1 + channel: 1 / (1 + np.exp(-10 * value)) for channel, value in enumerate(normalised(*colour))}
    assert by_class == pytest.approx(wanted | {90: 1 / (1 + np.exp(-9))}, abs=1e-5)
    assert centre_and_size(found) == [[150, 25, 60, 10]] * 4


def test_rfdetr_pictures_are_stretched_over_the_whole_input(tmp_path: Path) -> None:
    model = load(detr_files.rfdetr(tmp_path / "rfdetr.onnx"))
    (narrow,), (square,) = (see(model, plain(125, *size), confidence=0.0) for size in ((20, 300), (64, 64)))
    np.testing.assert_allclose(narrow.confidence, square.confidence, atol=1e-6)


def test_rfdetr_with_91_slots_has_cocos_classes_by_their_ids(tmp_path: Path) -> None:
    model = load(detr_files.rfdetr(tmp_path / "rfdetr.onnx"))
    names = model.facts.class_names
    assert len(names) == 80
    assert (names[1], names[13], names[90]) == ("person", "stop sign", "toothbrush")
    assert not names.keys() & {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    (found,) = see(model, plain(255, 64, 64), confidence=0.9)
    # 9 on the last slot is a toothbrush here; slot 0 has no name and is not found.
    assert sorted(found.class_id.tolist()) == [1, 2, 3, 90]


@pytest.mark.parametrize(
    "metadata", [{}, {"names": "['class-0', 'class-1', 'class-2', 'class-3', 'class-4']"}]
)
def test_rfdetr_of_other_classes_has_the_background_last(tmp_path: Path, metadata: dict[str, str]) -> None:
    model = load(detr_files.rfdetr(tmp_path / "rfdetr.onnx", slots=6, metadata=metadata))
    assert model.facts.class_names == {index: f"class-{index}" for index in range(5)}
    (found,) = see(model, plain(255, 64, 64), confidence=0.9)
    assert sorted(found.class_id.tolist()) == [0, 1, 2, 3]
