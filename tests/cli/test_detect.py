"""`nanofleet detect` as a process: what it prints where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.contract.payloads import Object
from tests.onnx_files import COLOURS, anomaly_metadata, colour_detector, reconstruction_model

COMMAND: Final = Path(sys.executable).with_name("nanofleet")
BGR: Final = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
WIDTH_PX, HEIGHT_PX = 96, 64


def detect(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "detect", *[str(argument) for argument in arguments]],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def picture(colour: str) -> NDArray[np.uint8]:
    return np.full((HEIGHT_PX, WIDTH_PX, 3), BGR[colour], np.uint8)


def picture_file(path: Path, colour: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), picture(colour))
    return path


def clip_file(path: Path, colours: list[str]) -> Path:
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), fourcc, 10, (WIDTH_PX, HEIGHT_PX))
    assert writer.isOpened()
    for colour in colours:
        writer.write(picture(colour))
    writer.release()
    return path


def classes(line: dict[str, Any]) -> list[str]:
    return [one["class"] for one in line["objects"]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colour_detector(tmp_path / "colours.onnx")


def test_detect_prints_one_compact_line_a_picture_in_the_order_of_the_arguments(
    tmp_path: Path, model: Path
) -> None:
    pictures = [picture_file(tmp_path / f"{colour}.png", colour) for colour in ("blue", "red", "green")]
    done = detect(*pictures, "--model", model, "--json", "--confidence", "0.3")
    assert done.returncode == 0
    assert done.stderr == ""
    assert [line["image"] for line in lines(done)] == [str(path) for path in pictures]
    assert [classes(line) for line in lines(done)] == [["blue"] * 2, ["red"] * 2, ["green"] * 2]
    first = lines(done)[0]
    assert list(first) == ["image", "width", "height", "objects"]
    assert (first["width"], first["height"]) == (WIDTH_PX, HEIGHT_PX)
    assert done.stdout.splitlines()[0] == json.dumps(first, separators=(",", ":"))
    strongest = Object.model_validate(first["objects"][0])
    assert strongest.class_id == COLOURS.index("blue")
    assert strongest.box == pytest.approx((38 / 96, 27 / 64, 58 / 96, 37 / 64), abs=1e-8)
    assert [one["confidence"] for one in first["objects"]] == [1.0, 0.5]
    assert set(first["objects"][0]) == {"class", "class_id", "confidence", "box"}


def test_detect_prints_a_line_also_when_nothing_is_found(tmp_path: Path, model: Path) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((50, 70, 3), 100, np.uint8))
    done = detect(grey, "--model", model, "--confidence", "0.9", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done) == [{"image": str(grey), "width": 70, "height": 50, "objects": []}]


def test_detect_tells_what_it_cannot_read_and_does_the_others(tmp_path: Path, model: Path) -> None:
    red = picture_file(tmp_path / "red.png", "red")
    green = picture_file(tmp_path / "green.jpg", "green")
    broken = tmp_path / "broken.png"
    broken.write_bytes(red.read_bytes()[:40])
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    missing = tmp_path / "missing.png"
    done = detect(red, broken, missing, tmp_path, text, green, "--model", model, "--json")
    assert done.returncode == 1
    assert [line["image"] for line in lines(done)] == [str(red), str(green)]
    told = [line for line in done.stderr.splitlines() if line.startswith("nanofleet detect: ")]
    assert [line.split(": ")[1] for line in told] == [str(path) for path in (broken, missing, tmp_path, text)]
    assert "Traceback" not in done.stderr


def test_detect_takes_frames_of_a_clip_in_decode_order(tmp_path: Path, model: Path) -> None:
    clip = clip_file(tmp_path / "clip.avi", ["red", "green", "blue", "red", "blue"])
    red = picture_file(tmp_path / "red.png", "red")
    done = detect(clip, red, "--model", model, "--frames", "4,1,1", "--json", "--confidence", "0.7")
    assert done.returncode == 0, done.stderr
    assert [(line.get("frame"), classes(line)) for line in lines(done)] == [
        (1, ["green"]),
        (4, ["blue"]),
        (None, ["red"]),
    ]
    assert list(lines(done)[0]) == ["image", "frame", "width", "height", "objects"]


def test_detect_takes_every_frame_of_a_clip_where_none_is_named(tmp_path: Path, model: Path) -> None:
    colours = ["red", "green", "blue"] * 5
    clip = clip_file(tmp_path / "clip.avi", colours)
    done = detect(clip, "--model", model, "--json", "--confidence", "0.7")
    assert done.returncode == 0, done.stderr
    assert [(line["frame"], classes(line)) for line in lines(done)] == [
        (number, [colour]) for number, colour in enumerate(colours)
    ]


def test_detect_says_which_frames_a_clip_does_not_have(tmp_path: Path, model: Path) -> None:
    clip = clip_file(tmp_path / "clip.avi", ["red", "green"])
    done = detect(clip, "--model", model, "--json", "--frames", "1,2,9")
    assert done.returncode == 1
    assert [line["frame"] for line in lines(done)] == [1]
    assert "ends after 2 frames: it has no frame 2, 9" in done.stderr


def test_detect_gives_what_a_clip_that_was_cut_off_still_has(tmp_path: Path, model: Path) -> None:
    clip = clip_file(tmp_path / "clip.avi", ["red", "green"] * 20)
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    done = detect(clip, "--model", model, "--json", "--confidence", "0.7")
    assert done.returncode == 1
    assert [classes(line) for line in lines(done)[:2]] == [["red"], ["green"]]
    assert "cut off" in done.stderr


def test_detect_shows_people_a_table(tmp_path: Path, model: Path) -> None:
    done = detect(picture_file(tmp_path / "red.png", "red"), "--model", model, "--confidence", "0.7")
    assert done.returncode == 0
    assert "red" in done.stdout
    assert "1.000" in done.stdout
    assert "38.0 27.0 58.0 37.0" in done.stdout


def test_detect_saves_copies_and_never_over_a_picture(tmp_path: Path, model: Path) -> None:
    one = picture_file(tmp_path / "a" / "red.png", "red")
    other = picture_file(tmp_path / "b" / "red.png", "blue")
    clip = clip_file(tmp_path / "clip.avi", ["red", "green"])
    before = one.read_bytes()
    done = detect(one, other, clip, "--model", model, "--json", "--save", tmp_path / "a", "--frames", "1")
    assert done.returncode == 0, done.stderr
    assert one.read_bytes() == before
    saved = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert saved == ["clip-000001-detected.jpg", "red-2-detected.png", "red-detected.png", "red.png"]
    drawn = cv2.imread(str(tmp_path / "a" / "red-detected.png"))
    assert drawn is not None
    assert drawn.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert (drawn != picture("red")).any()


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--frames", "1,-2", "0,100"),
        ("--frames", "first", "0,100"),
        ("--shape", "wide", "HEIGHTxWIDTH"),
        ("--shape", "64000x64000", "4096"),
        ("--shape", "0x0", "from 32"),
        ("--confidence", "1.5", "less than or equal"),
    ],
)
def test_detect_says_how_an_option_is_written(model: Path, option: str, value: str, told: str) -> None:
    done = detect("x.png", "--model", model, option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_detect_ends_at_once_when_the_model_cannot_serve(tmp_path: Path) -> None:
    red = picture_file(tmp_path / "red.png", "red")
    anomaly = reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata())
    for path, told in ((tmp_path / "missing.onnx", "cannot be read"), (anomaly, "anomaly model")):
        done = detect(red, "--model", path, "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_detect_ends_as_misconfigured_with_a_provider_that_does_not_exist(
    tmp_path: Path, model: Path
) -> None:
    done = detect(picture_file(tmp_path / "red.png", "red"), "--model", model, "--provider", "gpu")
    assert (done.returncode, done.stdout) == (78, "")
    assert "no provider 'gpu'" in done.stderr


def test_detect_logs_to_stderr_and_keeps_stdout_clean(tmp_path: Path, model: Path) -> None:
    red = picture_file(tmp_path / "red.png", "red")
    done = detect(red, "--model", model, "--json", "--provider", "cuda")
    assert done.returncode == 0
    assert "model.provider_fell_back" in done.stderr
    assert len(lines(done)) == 1


@pytest.mark.testdata
@pytest.mark.parametrize("name", ["yolo11n-person", "yolo11n-pose"])
def test_detect_equals_the_golden_results(testdata: Path, name: str) -> None:
    golden = json.loads((testdata / "golden" / f"{name}.json").read_text())
    frames = golden["frames_of_vtest.avi"]
    pictures = [testdata / "images" / picture for picture in golden["images"]]
    clip = testdata / "clips" / "vtest.avi"
    done = detect(
        *pictures, clip, "--model", testdata / "models" / f"{name}.onnx", "--confidence", "0.25",
        "--iou", "0.45", "--frames", ",".join(frames), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = lines(done)
    assert [line["image"] for line in printed] == [str(path) for path in [*pictures, *[clip] * len(frames)]]
    assert [line["frame"] for line in printed[len(pictures) :]] == sorted(int(number) for number in frames)
    by_frame = sorted(frames.items(), key=lambda item: int(item[0]))
    wanted = [*golden["images"].values(), *[objects for _, objects in by_frame]]
    for line, objects in zip(printed, wanted, strict=True):
        assert classes(line) == [one["name"] for one in objects]
        sides = np.array([line["width"], line["height"]])
        for found, one in zip(line["objects"], objects, strict=True):
            assert found["confidence"] == pytest.approx(one["confidence"], abs=1e-3)
            assert np.array(found["box"]) * np.tile(sides, 2) == pytest.approx(one["xyxy"], abs=0.5)
            if "keypoints" in one:
                points, recorded = np.array(found["keypoints"]), np.array(one["keypoints"])
                np.testing.assert_allclose(points[:, :2] * sides, recorded[:, :2], rtol=0, atol=0.5)
                np.testing.assert_allclose(points[:, 2], recorded[:, 2], rtol=0, atol=1e-3)
