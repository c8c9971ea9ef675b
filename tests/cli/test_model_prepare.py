from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli import app
from tests.onnx_files import colour_detector
from tests.yolov8_files import yolov8_file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["model", "prepare", *map(str, words)])


def test_it_writes_the_cut_model_beside_the_exported_one(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "people.onnx")
    result = run(model)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "people-prepared.onnx").is_file()
    assert "people-prepared.onnx (cut), SHA-256" in result.stdout
    assert "proven on 3 pictures" in result.stdout


def test_json_says_what_was_proven(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "people.onnx")
    result = run(model, "--rewrite", "exact", "--out", tmp_path / "out.onnx", "--json")
    said = json.loads(result.stdout)
    assert (said["graph"], said["file"], said["reasons"]) == ("exact", str(tmp_path / "out.onnx"), [])
    assert said["proofs"][0]["box_error_px"] == 0


def test_nothing_to_rewrite_is_said_and_no_failure(tmp_path: Path) -> None:
    result = run(colour_detector(tmp_path / "model.onnx"))
    assert result.exit_code == 0
    assert "not cut: its boxes are no expectation over bins (DFL)" in result.stdout
    assert "model.onnx is served as it was exported; no file was written" in result.stdout
    assert not (tmp_path / "model-prepared.onnx").exists()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["none.onnx"], 1, "cannot be read: No such file"),
        (["model.onnx", "--out", "none/out.onnx"], 78, "there is no folder none"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    yolov8_file(tmp_path / "model.onnx")
    result = run(*words)
    assert result.exit_code == code
    assert result.stderr.startswith("nanofleet model prepare: ")
    assert why in result.stderr
