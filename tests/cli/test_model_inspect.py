"""`nanofleet model inspect` as a process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.model_command import PARTS, VIBRATION, model, refused
from tests.onnx_files import constant_detector
from tests.window_files import half, window_metadata


def test_inspect_tells_what_a_detector_is_and_costs() -> None:
    done = model("inspect", PARTS, "--json", "--threads", 1)
    assert (done.exit_code, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["file"]["sha256"] == hashlib.sha256(PARTS.read_bytes()).hexdigest()
    assert said["file"]["size_bytes"] == PARTS.stat().st_size
    assert said["file"]["metadata"]["license"] == "Apache-2.0"
    serving = said["serving"]
    assert (serving["facts"]["task"], serving["head"], serving["size"]) == ("detect", "yolov8", [320, 320])
    assert serving["facts"]["class_names"] == {"0": "bolt", "1": "nut", "2": "washer", "3": "gear"}
    assert (serving["feeding"]["colours"], serving["feeding"]["element"]) == ("rgb", "float32")
    # 0.82 million weights, as the model card says.
    assert said["cost"]["parameters"] == pytest.approx(820_000, rel=0.01)
    assert said["cost"]["precision"] == "float32"
    assert 0 < said["trial"]["fastest_ms"] <= said["trial"]["median_ms"]
    assert 0 < said["trial"]["libraries_mb"] < said["trial"]["peak_mb"]


def test_inspect_shows_a_panel_and_draws_a_picture(tmp_path: Path) -> None:
    picture, drawn = tmp_path / "grey.png", tmp_path / "drawn.png"
    cv2.imwrite(str(picture), np.full((240, 320, 3), 100, np.uint8))
    done = model("inspect", PARTS, "--image", picture, "--save", drawn)
    assert done.exit_code == 0, done.stderr
    for word in ("bolt, nut, washer, gear", "GFLOPs", "MB at most", "Apache-2.0", "output0 float32"):
        assert word in done.stdout
    shown = cv2.imread(str(drawn))
    assert shown is not None
    assert shown.shape == (240, 320, 3)


def test_inspect_tells_of_a_model_of_sensor_windows() -> None:
    said = json.loads(model("inspect", VIBRATION, "--json").stdout)
    assert said["serving"]["facts"]["task"] == "anomaly"
    assert said["serving"]["feeding"]["window"] == 128
    assert said["trial"]["median_ms"] > 0


def test_inspect_says_why_nothing_decodes_a_file_and_what_it_resembles(tmp_path: Path) -> None:
    strange = constant_detector(
        tmp_path / "strange.onnx", np.zeros((1, 7, 11, 13), np.float32), metadata={"license": "MIT"}
    )
    done = model("inspect", strange, "--json")
    refused(done, saying="strange.onnx: nothing here decodes an output of [1, 7, 11, 13]")
    said = json.loads(done.stdout)
    assert (said["serves"], said["serving"], said["trial"]) == (False, None, None)
    assert said["refusal"] in done.stderr
    assert said["file"]["metadata"] == {"license": "MIT"}


@pytest.mark.parametrize("what", ["missing", "folder", "text", "cut"])
def test_inspect_refuses_what_is_no_model_in_one_sentence(tmp_path: Path, what: str) -> None:
    place = tmp_path / "thing.onnx"
    match what:
        case "folder":
            place.mkdir()
        case "text":
            place.write_text("no model")
        case "cut":
            place.write_bytes(PARTS.read_bytes()[:1000])
    refused(model("inspect", place), saying="thing.onnx")


@pytest.mark.parametrize(
    "options", [("--image", "a.png"), ("--save", "a.png"), ("--shape", "big"), ("--threads", "100000")]
)
def test_inspect_refuses_options_that_make_no_sense(options: tuple[str, str]) -> None:
    assert model("inspect", PARTS, *options).exit_code == 2


@pytest.mark.parametrize("command", [("inspect",), ("verify", "--reference", "opencv")])
def test_another_provider_than_the_one_asked_for_is_not_looked_at(command: tuple[str, ...]) -> None:
    """The CPU's figures would pass for CUDA's."""
    done = model(command[0], PARTS, *command[1:], "--provider", "migraphx")
    assert (done.exit_code, done.stdout) == (78, "")
    assert "was to run on migraphx, but cpu would run it" in done.stderr


@pytest.mark.parametrize("sides", ["2,6", "12"])
def test_model_of_windows_is_counted_as_it_is_fed(tmp_path: Path, sides: str) -> None:
    said = window_metadata(layout="NCW" if sides == "2,6" else None)
    found = json.loads(
        model("inspect", half(tmp_path / "a.onnx", sides=sides, metadata=said), "--json").stdout
    )
    assert found["serving"]["head"] == "autoencoder"
    assert found["serving"]["feeding"]["fed_shape"] == [1, *map(int, sides.split(","))]
    assert found["cost"]["macs"] == 0
