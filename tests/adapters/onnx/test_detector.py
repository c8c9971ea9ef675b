from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from tests.onnx_files import COLOUR_METADATA, COLOURS, colour_detector, constant_detector

BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}


def picture(colour: str, height_px: int = 64, width_px: int = 96) -> NDArray[np.uint8]:
    return np.full((height_px, width_px, 3), BGR[colour], np.uint8)


def load(path: Path, **options: Any) -> OnnxDetector:
    model = load_model(name="colours", path=path, **options)
    assert isinstance(model, OnnxDetector)
    return model


def see(model: OnnxDetector, pictures: Sequence[NDArray[np.uint8]], least: float = 0.6) -> list[Detections]:
    found, _ = model.detect([Look(pixels, Thresholds(confidence=least)) for pixels in pictures])
    return found


def names(model: OnnxDetector, found: Sequence[Detections]) -> list[list[str]]:
    return [[model.facts.class_names[class_id] for class_id in one.class_id.tolist()] for one in found]


@pytest.fixture
def colours(tmp_path: Path) -> OnnxDetector:
    return load(colour_detector(tmp_path / "colours.onnx"), max_batch=3)


@pytest.mark.parametrize("element", ["float32", "float16"])
@pytest.mark.parametrize(
    "sides", [("batch", 3, "height", "width"), (1, 3, 64, 96), ("batch", 3, 64, "width")]
)
def test_detect_sees_what_is_in_the_picture(tmp_path: Path, sides: Any, element: str) -> None:
    model = load(colour_detector(tmp_path / "colours.onnx", sides=sides, element=element))
    for colour in COLOURS:
        (found,) = see(model, [picture(colour)])
        assert names(model, [found]) == [[colour]]
        assert found.confidence[0] == pytest.approx(1.0, abs=2e-3)
        assert found.boxes.tolist() == [[38, 27, 58, 37]]


def test_detect_gives_boxes_in_pixels_of_each_frame(colours: OnnxDetector) -> None:
    large, tall = picture("red", 640, 960), picture("green", 128, 64)
    found = see(colours, [large, tall], least=0.2)
    assert names(colours, found)[0] == ["red", "red"]
    assert found[0].boxes[0].tolist() == pytest.approx([380, 270, 580, 370])
    # 128 x 64 lies in the middle third of 64 x 96: 32 wide, from x = 32; what lies beside it is clipped.
    assert found[1].boxes[0].tolist() == pytest.approx([12, 54, 52, 74])


def test_detect_keeps_the_order_of_a_batch_and_its_thresholds(colours: OnnxDetector) -> None:
    order = ["blue", "red", "green", "red", "blue"]
    found = see(colours, [picture(colour) for colour in order])
    assert names(colours, found) == [[colour] for colour in order]
    looks = [
        Look(picture("red"), Thresholds(confidence=0.4)),
        Look(picture("red"), Thresholds(confidence=0.4, by_class={"red": 0.6})),
        Look(picture("red"), Thresholds(by_class={"red": 1.01})),
    ]
    assert [len(one) for one in colours.detect(looks)[0]] == [2, 1, 0]


def test_detect_of_no_picture_finds_nothing(colours: OnnxDetector) -> None:
    assert colours.detect([])[0] == []


def test_detect_fills_a_fixed_batch_with_grey(tmp_path: Path) -> None:
    model = load(colour_detector(tmp_path / "three.onnx", sides=(3, 3, 64, 96)), max_batch=8)
    assert model.max_batch == 3
    found = see(model, [picture("green"), picture("red")])
    assert names(model, found) == [["green"], ["red"]]


def test_detect_runs_each_camera_at_its_own_aspect(tmp_path: Path) -> None:
    model = load(
        colour_detector(tmp_path / "colours.onnx", metadata=COLOUR_METADATA | {"imgsz": "[320, 320]"}),
        shape="auto",
        max_batch=4,
    )
    wide, tall = picture("red", 180, 320), picture("blue", 320, 160)
    found = see(model, [wide, tall, wide])
    assert names(model, found) == [["red"], ["blue"], ["red"]]
    # 180 rows in 192: the box, at 32 of the input, lies 6 higher in the frame.
    assert found[0].boxes.tolist() == [[38, 21, 58, 31]]
    assert found[1].boxes.tolist() == [[38, 27, 58, 37]]
    # All of the wide input but 12 rows of grey is red.
    assert found[0].confidence[0] == pytest.approx((180 + 12 * 114 / 255) / 192, abs=1e-5)


def test_detect_at_a_size_asked_for(tmp_path: Path) -> None:
    model = load(colour_detector(tmp_path / "colours.onnx"), shape=(96, 96))
    (found,) = see(model, [picture("red", 96, 96)])
    assert found.boxes.tolist() == [[38, 27, 58, 37]]


def test_lanes_do_not_see_each_others_pictures(colours: OnnxDetector) -> None:
    sizes = [(64, 96), (100, 100), (31, 57), (720, 1280)]
    jobs = [(colour, size) for colour, size in itertools.product(COLOURS, sizes)] * 8

    def one(job: tuple[str, tuple[int, int]]) -> list[list[str]]:
        colour, (height_px, width_px) = job
        return names(colours, see(colours, [picture(colour, height_px, width_px)], least=0.66))

    with ThreadPoolExecutor(4) as lanes:
        assert list(lanes.map(one, jobs)) == [[[colour]] for colour, _ in jobs]


def test_many_sizes_do_not_pile_up_in_a_lane(tmp_path: Path) -> None:
    model = load(colour_detector(tmp_path / "colours.onnx"), shape="auto")
    for width_px in range(10, 200, 10):
        see(model, [picture("red", 100, width_px)])
    assert len(model._lane.feeders) <= 4


def test_detect_tells_when_feeding_and_running_ended(colours: OnnxDetector) -> None:
    _, timed = colours.detect([Look(picture("red"), Thresholds())])
    assert 0 < timed.preprocessed_ns < timed.inferred_ns


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((0, 0, 3), np.uint8)])
def test_what_is_no_picture_spoils_one_call_only(colours: OnnxDetector, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(TransientError) as caught:
        see(colours, [pixels])
    assert caught.value.code == Code.FRAME
    assert names(colours, see(colours, [picture("red")])) == [["red"]]


def test_a_model_that_gives_nan_is_an_error_and_not_an_empty_picture(tmp_path: Path) -> None:
    answer = np.full((1, 6, 126), np.nan, np.float32)
    path = constant_detector(
        tmp_path / "nan.onnx", answer, metadata={"task": "detect", "names": "['a', 'b']"}
    )
    with pytest.raises(TransientError, match="nan") as caught:
        see(load(path), [picture("red")])
    assert caught.value.code == Code.MODEL
