from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.cli.model_command import PARTS, VIBRATION, model, refused


def test_pack_makes_the_package_that_it_tells_of(tmp_path: Path) -> None:
    out = tmp_path / "vibration.zip"
    done = model("pack", VIBRATION, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["file"], said["goldens"]) == (str(out), 4)
    again = model("pack", VIBRATION, "--out", tmp_path / "folder", "--json")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "folder" / "model.yaml").is_file()


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("missing/p.zip", "there is no folder"),
        ("missing/p", "there is no folder"),
        ("taken", "something is there already"),
        ("taken/file", "something is there already"),
        ("folder.zip", "it is a folder"),
    ],
)
def test_pack_says_before_it_begins_where_it_cannot_write(tmp_path: Path, out: str, why: str) -> None:
    for name in ("taken", "folder.zip"):
        (tmp_path / name).mkdir()
    (tmp_path / "taken" / "file").touch()
    done = model("pack", PARTS, "--out", tmp_path / out)
    refused(done, saying=why)
    assert f"--out: {tmp_path / out} cannot be written" in done.stderr


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_pack_refuses_a_precision_that_the_weights_contradict(tmp_path: Path, precision: str) -> None:
    done = model("pack", PARTS, "--out", tmp_path / "p.zip", "--precision", precision)
    refused(done, saying="its weights are fp32: --precision fp32 is right")
    assert not (tmp_path / "p.zip").exists()


def test_pack_wants_half_precision_to_be_said_of_halves(tmp_path: Path) -> None:
    loaded = onnx.load(VIBRATION)
    graph = loaded.graph
    wide = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    assert wide
    for weights in wide:
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float16), name))
        weights.name = f"{name}.half"
        cast = helper.make_node("Cast", [weights.name], [name], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)
    half = tmp_path / "half.onnx"
    onnx.save(loaded, half)
    refused(model("pack", half, "--out", tmp_path / "p.zip"), saying="--precision fp16 is right")
    done = model("pack", half, "--out", tmp_path / "p.zip", "--precision", "fp16", "--reference", VIBRATION)
    assert done.exit_code == 0, done.stderr
