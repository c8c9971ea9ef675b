"""`nanofleet model verify` as a process: the demo's model, and copies of it that are a little wrong."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from agent.workbench.pictures import collect
from tests.cli.model_command import PARTS, VIBRATION, model, refused
from tests.model_packages import package_of
from tests.onnx_files import COLOUR_METADATA, colour_detector, constant_detector


def bent(path: Path, *, factor: float) -> Path:
    """The demo's model with one filter scaled: an export that went a little wrong."""
    changed = onnx.load(PARTS)
    filters = [one for one in changed.graph.initializer if len(one.dims) == 4]
    array = numpy_helper.to_array(filters[-1]).copy()
    array[:] *= factor
    filters[-1].CopyFrom(numpy_helper.from_array(array, filters[-1].name))
    onnx.save(changed, path)
    return path


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    cv2.imwrite(str(path), np.full((64, 96, 3), (0, 0, 255), np.uint8))
    return path


@pytest.mark.parametrize("runtime", ["unoptimised", "opencv", "onnx"])
def test_another_runtime_finds_the_same_in_rendered_pictures(runtime: str) -> None:
    done = model("verify", PARTS, "--reference", runtime, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["agrees"], said["confidence"], len(said["pictures"])) == (True, 0.25, 4)
    assert said["objects"] > 20
    assert all(picture["output"] is not None for picture in said["pictures"])


def test_a_file_with_one_filter_a_little_off_fails_and_is_shown(tmp_path: Path) -> None:
    wrong = bent(tmp_path / "wrong.onnx", factor=1.01)
    done = model("verify", wrong, "--reference", PARTS)
    refused(done, saying="it differs from parts.onnx in 4 of 4 pictures")
    assert done.stdout.count("FAIL") == 4
    for word in ("rendered-0", "objects", "confidence", "box (px)", "allowed"):
        assert word in done.stdout


def test_wider_tolerances_let_it_pass(tmp_path: Path) -> None:
    wrong = bent(tmp_path / "wrong.onnx", factor=1.0001)
    assert model("verify", wrong, "--reference", PARTS).exit_code == 1
    wide = ("--score-within", 0.1, "--top-within", 0.1, "--box-within", 5)
    assert model("verify", wrong, "--reference", PARTS, *wide).exit_code == 0


def test_what_a_model_finds_is_kept_and_found_again_but_not_by_another(tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    assert model("verify", PARTS, "--write-golden", kept).exit_code == 0
    assert model("verify", PARTS, "--golden", kept).exit_code == 0
    wrong = bent(tmp_path / "wrong.onnx", factor=1.01)
    refused(model("verify", wrong, "--golden", kept), saying="it differs from parts.onnx version 1.0.0")


def test_nothing_is_kept_of_a_model_that_fails(tmp_path: Path) -> None:
    wrong = bent(tmp_path / "wrong.onnx", factor=1.01)
    kept = tmp_path / "kept.npz"
    assert model("verify", wrong, "--reference", PARTS, "--write-golden", kept).exit_code == 1
    assert not kept.exists()


def test_golden_json_is_read_with_pictures_beside_it(tmp_path: Path, red: Path) -> None:
    detector = colour_detector(tmp_path / "colours.onnx")
    objects = [
        {"class": 0, "name": "red", "confidence": 1.0, "xyxy": [38.0, 27.0, 58.0, 37.0]},
        {"class": 0, "name": "red", "confidence": 0.5, "xyxy": [5.0, 5.0, 11.0, 11.0]},
    ]
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"reference": "reckoned", "images": {"red.png": objects}}))
    refused(model("verify", detector, "--golden", golden), saying="tells of red.png, which is not there")
    assert model("verify", detector, "--golden", golden, "--images", red.parent).exit_code == 0
    objects[0]["xyxy"] = [38.0, 27.0, 58.0, 37.1]
    golden.write_text(json.dumps({"reference": "reckoned", "images": {"red.png": objects}}))
    done = model("verify", detector, "--golden", golden, "--images", red)
    refused(done, saying="it differs from reckoned in 1 of 1 pictures")


def test_nothing_compared_is_no_agreement(tmp_path: Path, red: Path) -> None:
    answer: NDArray[np.float32] = np.zeros((1, 7, 11), np.float32)
    silent = constant_detector(tmp_path / "silent.onnx", answer, metadata=COLOUR_METADATA)
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"reference": "nobody", "images": {"red.png": []}}))
    done = model("verify", silent, "--golden", golden, "--images", red)
    refused(done, saying="nothing is found in any picture")


def test_where_the_reference_finds_little_the_limit_is_lowered(tmp_path: Path) -> None:
    """Pictures that show nothing that the model knows still compare what it finds faintly."""
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.full((64, 96, 3), (0, 0, 20), np.uint8))
    detector = colour_detector(tmp_path / "colours.onnx")
    done = model("verify", detector, "--reference", "unoptimised", "--images", dark, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["confidence"] == 0.01
    assert said["objects"] == 2


@pytest.mark.parametrize(
    ("name", "content", "saying"),
    [
        ("golden.json", b"{", "holds no golden results"),
        ("golden.json", b"[]", "holds no golden results"),
        ("golden.json", b"{}", "holds no picture"),
        ("golden.json", b'{"images": {"red.png": [{"class": 0}]}}', "holds no golden results"),
        ("golden.npz", b"no archive", "holds no golden results"),
        ("golden.txt", b"\xff\xfe", "holds no golden results"),
    ],
)
def test_what_is_no_golden_file_is_refused(
    tmp_path: Path, red: Path, name: str, content: bytes, saying: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(model("verify", PARTS, "--golden", tmp_path / name, "--images", red), saying=saying)


def test_bad_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    runtime = ("--reference", "unoptimised")
    refused(model("verify", tmp_path / "no.onnx", *runtime), saying="no.onnx cannot be read")
    refused(model("verify", VIBRATION, *runtime), saying="a detector or pose model is wanted")
    refused(model("verify", PARTS, *runtime, "--images", empty), saying="no picture in this folder")
    refused(model("verify", PARTS, *runtime, "--images", PARTS), saying="is no picture")
    refused(model("verify", PARTS, "--reference", tmp_path / "no.onnx"), saying="no.onnx cannot be read")
    refused(model("verify", PARTS, "--reference", tmp_path / "no.pt"), saying="there is no such checkpoint")
    refused(model("verify", PARTS, "--golden", tmp_path / "no.json"), saying="no.json cannot be read")
    refused(model("verify", PARTS, "--write-golden", tmp_path / "a.json"), saying="should end in .npz")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package_of(PARTS, tmp_path_factory.mktemp("package") / "parts.zip")


def test_a_package_is_held_against_its_own_golden_results(tmp_path: Path, package: Path) -> None:
    done = model("verify", package)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("parts.zip: 4 golden inputs agree")
    said = json.loads(model("verify", package, "--json").stdout)
    assert (said["admitted"], said["goldens"]) == (True, 4)
    assert said["objects"] > 20

    folder = tmp_path / "wrong"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    bent(folder / "model.onnx", factor=1.5)
    done = model("verify", folder, "--json")
    refused(done, saying="golden/picture-0")
    assert json.loads(done.stdout)["admitted"] is False


def test_a_package_takes_no_other_reference(package: Path) -> None:
    done = model("verify", package, "--reference", "opencv")
    assert done.exit_code == 2
    assert "a package brings its golden pictures" in done.stderr


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_a_package_in_place_of_a_model_is_told_as_one(tmp_path: Path, package: Path, form: str) -> None:
    given, saying = package, "is had by: unzip parts.zip model.onnx"
    if form == "folder":
        given, saying = tmp_path / "parts", "its model is parts/model.onnx"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(given)
    for command in ("inspect", "bench"):
        refused(model(command, given), saying=saying)


def test_one_of_golden_and_reference_is_wanted() -> None:
    assert model("verify", PARTS).exit_code == 2
    assert model("verify", PARTS, "--golden", "a.npz", "--reference", "opencv").exit_code == 2


@pytest.mark.testdata
@pytest.mark.parametrize("name", ["yolo11n-person", "yolo11n-pose"])
def test_trained_models_find_what_their_trainers_library_found(testdata: Path, name: str) -> None:
    done = model(
        "verify", testdata / f"models/{name}.onnx", "--golden", testdata / f"golden/{name}.json",
        "--images", testdata / "images", "--images", testdata / "clips", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["pictures"]) == 8
    assert said["objects"] > 10


def test_pictures_of_one_name_are_told_apart(tmp_path: Path, red: Path) -> None:
    (tmp_path / "red.png").write_bytes(red.read_bytes())
    names = [one.name for one in collect([red, tmp_path / "red.png"])]
    assert names == [str(red), str(tmp_path / "red.png")]
