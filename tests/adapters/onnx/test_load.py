from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.errors import Code, ConfigError, RefusedError
from tests import onnx_files
from tests.onnx_files import COLOUR_METADATA, COLOURS, colour_detector, constant_detector


def load(path: Path, **options: Any) -> OnnxDetector:
    model = load_model(name="colours", path=path, **options)
    assert isinstance(model, OnnxDetector)
    return model


def refusal(path: Path, **options: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        load_model(name="colours", path=path, **options)
    return caught.value


def test_facts_tell_what_the_file_is(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "colours.onnx")
    facts = load(path).facts
    assert (facts.name, facts.version, facts.task) == ("colours", "1.2.3", "detect")
    assert facts.class_names == dict(enumerate(COLOURS))
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts.provider_asked, facts.provider_used) == ("cpu", "cpu")


def test_a_file_with_the_hash_asked_for_is_loaded(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "colours.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(path, sha256=digest.upper()).facts.sha256 == digest


def test_another_file_than_the_hash_asked_for_is_refused(tmp_path: Path) -> None:
    error = refusal(colour_detector(tmp_path / "colours.onnx"), sha256="0" * 64)
    assert error.code == Code.HASH
    assert "0" * 64 in error.message


def _garbage(path: Path) -> Path:
    path.write_bytes(b"not a model at all" * 10)
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _half(path: Path) -> Path:
    whole = colour_detector(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (lambda path: path, Code.FILE, "No such file"),
        (_folder, Code.FILE, "is a folder; an ONNX file is wanted"),
        (_garbage, Code.MODEL, "no ONNX file"),
        (_half, Code.MODEL, "damaged"),
        (_empty, Code.MODEL, "is empty; an ONNX file is wanted"),
        (lambda path: onnx_files.operator_file(path, "Identity", opset=99), Code.MODEL, "opset 99"),
        (lambda path: onnx_files.operator_file(path, "Identity", ir_version=99), Code.MODEL, "IR version 99"),
        (lambda path: onnx_files.operator_file(path, "Nothing"), Code.MODEL, "Nothing"),
        (lambda path: onnx_files.operator_file(path, "Odd", domain="a.b"), Code.MODEL, "a.b:Odd"),
        (onnx_files.two_input_file, Code.MODEL, "one input is wanted, the picture"),
    ],
    ids=["missing", "folder", "garbage", "cut short", "empty", "opset", "IR", "operator", "domain", "inputs"],
)
def test_a_file_that_cannot_serve_is_refused_in_a_sentence(
    tmp_path: Path, make: Callable[[Path], Path], code: Code, told: str
) -> None:
    error = refusal(make(tmp_path / "model.onnx"))
    assert error.code == code
    assert told in error.message
    assert "model.onnx" in error.message
    assert "\n" not in error.message
    assert "/onnxruntime_src" not in error.message


def test_a_layout_that_nothing_decodes_is_refused_with_all_that_is_known(tmp_path: Path) -> None:
    path = constant_detector(
        tmp_path / "end.onnx", np.zeros((1, 300, 9), np.float32), metadata={"task": "detect", "stride": "32"}
    )
    error = refusal(path)
    assert error.code == Code.MODEL
    for part in (
        "it may be YOLOX's",
        "images float32 [1, 3, 64, 96]",
        "output0 float32 [1, 300, 9]",
        "task=detect",
        "stride=32",
    ):
        assert part in error.message


def test_two_classes_are_not_taken_for_finished_boxes(tmp_path: Path) -> None:
    answer = np.zeros((1, 6, 126), np.float32)
    path = constant_detector(
        tmp_path / "two.onnx", answer, metadata={"task": "detect", "names": "['a', 'b']"}
    )
    assert load(path).facts.class_names == {0: "a", 1: "b"}


def test_a_file_without_metadata_serves_where_its_shapes_are_clear(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "bare.onnx", np.zeros((1, 6, 126), np.float32), metadata={})
    facts = load(path).facts
    assert (facts.task, facts.version, facts.class_names) == (
        "detect",
        "unknown",
        {0: "class-0", 1: "class-1"},
    )


def test_a_file_without_metadata_is_refused_where_they_are_not(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "bare.onnx", np.zeros((1, 6, 125), np.float32), metadata={})
    assert "Metadata: none" in refusal(path).message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "segment"}, "its task is 'segment'; served are detect, pose, classify, anomaly"),
        ({"names": "{0: 'a', 2: 'b'}"}, "names"),
        ({"names": "__import__('os')"}, "neither JSON nor a Python literal"),
        ({"names": repr(["a", "b"])}, "names 2 classes"),
        ({"imgsz": "[640, -1]"}, "imgsz"),
        ({"stride": "often"}, "stride"),
        ({"end2end": "True"}, "its boxes are finished"),
    ],
)
def test_metadata_that_is_wrong_is_refused(tmp_path: Path, changes: dict[str, str], told: str) -> None:
    error = refusal(colour_detector(tmp_path / "colours.onnx", metadata=COLOUR_METADATA | changes))
    assert error.code == Code.MODEL
    assert told in error.message


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((96, 64), "height is fixed to 64"),
        ((64, 64), "width is fixed to 96"),
    ],
)
def test_a_file_of_fixed_size_runs_at_no_other(tmp_path: Path, shape: tuple[int, int], told: str) -> None:
    path = colour_detector(tmp_path / "fixed.onnx", sides=(1, 3, 64, 96))
    assert load(path, shape=(64, 96)).facts.name == "colours"
    assert told in refusal(path, shape=shape).message


def test_an_open_size_must_be_of_whole_strides(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "open.onnx")
    assert "multiple of 32" in refusal(path, shape=(64, 100)).message


def test_a_provider_that_is_not_there_falls_back_loudly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = load(colour_detector(tmp_path / "colours.onnx"), provider="cuda").facts
    assert (facts.provider_asked, facts.provider_used) == ("cuda", "cpu")
    told = capsys.readouterr()
    assert "model.provider_fell_back" in told.out + told.err
    assert "onnxruntime-gpu" in told.out + told.err


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "openvino", "migraphx"])
def test_a_provider_asked_for_strictly_is_that_or_nothing(tmp_path: Path, provider: str) -> None:
    path = colour_detector(tmp_path / "colours.onnx")
    with pytest.raises(ConfigError, match=f"built without {provider}") as caught:
        load(path, provider=provider, strict_provider=True)
    assert caught.value.code == Code.PROVIDER


def test_a_provider_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "colours.onnx")
    with pytest.raises(ConfigError, match="no provider 'gpu'; use one of cpu, cuda"):
        load(path, provider="gpu")


def test_a_damaged_file_is_refused_also_with_a_provider_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(_garbage(tmp_path / "model.onnx"), provider="cuda").code == Code.MODEL


def test_a_fixed_batch_bounds_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = colour_detector(tmp_path / "one.onnx", sides=(1, 3, 64, 96))
    assert load(path, max_batch=4).max_batch == 1
    told = capsys.readouterr()
    assert "model.batch_is_fixed" in told.out + told.err
    assert load(colour_detector(tmp_path / "open.onnx"), max_batch=4).max_batch == 4
