"""Exporting: with a stand-in for the trainer's library everywhere, with Ultralytics where it is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from agent.domain.errors import RefusedError
from agent.vision.agreement import Tolerance
from agent.workbench.checkpoints import ExportOptions
from agent.workbench.exporting import Exported, export_model
from agent.workbench.pictures import collect
from tests.cli.model_command import PARTS, model, refused
from tests.cli.test_model_verify import bent

STAND_IN: Final = (sys.executable, str(Path(__file__).with_name("exporter_stand_in.py")))


def checkpoint(path: Path, **says: Any) -> Path:
    path.write_text(json.dumps({key: str(value) for key, value in says.items()}))
    return path


def export(source: Path, out: Path) -> Exported:
    return export_model(
        source,
        out,
        options=ExportOptions(),
        pictures=collect([]),
        confidence=0.25,
        iou=0.45,
        tolerance=Tolerance(),
        child=STAND_IN,
    )


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def test_a_file_that_finds_the_same_is_put_in_place(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("what was there before")
    made = export(checkpoint(tmp_path / "best.pt", exports=PARTS, predicts=PARTS), out)
    assert made.verification.agrees
    assert made.verification.objects > 20
    assert out.read_bytes() == PARTS.read_bytes()
    assert made.size_bytes == out.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "out.onnx"]


def test_a_file_that_finds_something_else_is_not_and_what_was_there_stays(tmp_path: Path) -> None:
    wrong = bent(tmp_path / "wrong.onnx", factor=1.01)
    out = tmp_path / "out.onnx"
    out.write_text("what was there before")
    made = export(checkpoint(tmp_path / "best.pt", exports=wrong, predicts=PARTS), out)
    assert not made.verification.agrees
    assert "it differs from the stand-in in" in made.verification.why_not
    assert out.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "out.onnx", "wrong.onnx"]


@pytest.mark.parametrize(
    ("act", "saying"),
    [
        ("lacks", "needs nanofleet with the extra `export`"),
        ("fails", "could not export it: ValueError: this checkpoint cannot be traced"),
        ("silent", "could not export it: it said nothing"),
        ("nothing", "made no file"),
    ],
)
def test_an_exporter_that_fails_is_told_and_leaves_nothing(tmp_path: Path, act: str, saying: str) -> None:
    source = checkpoint(tmp_path / "best.pt", act=act)
    with pytest.raises(RefusedError, match=saying):
        export(source, tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_what_nothing_here_decodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    source = checkpoint(tmp_path / "best.pt", exports=tmp_path / "text.onnx", predicts=PARTS)
    with pytest.raises(RefusedError, match="is no ONNX file"):
        export(source, tmp_path / "out.onnx")


def test_bad_arguments_are_refused_in_one_sentence(tmp_path: Path) -> None:
    refused(model("export", tmp_path / "no.pt", "--out", tmp_path / "a.onnx"), saying="no such checkpoint")
    refused(model("export", tmp_path, "--out", tmp_path / "a.onnx"), saying="no such checkpoint")
    same = checkpoint(tmp_path / "same.pt")
    refused(model("export", same, "--out", same), saying="is the checkpoint itself")
    assert model("export", same, "--out", tmp_path / "a.onnx", "--size", "auto").exit_code == 2


@pytest.mark.skipif(importlib.util.find_spec("ultralytics") is not None, reason="Ultralytics is installed")
def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "best.pt")
    refused(model("export", source, "--out", tmp_path / "a.onnx"), saying="the extra `export`")
    refused(model("verify", PARTS, "--reference", source), saying="the extra `export`")


def _untrained(path: Path, *, seed: int) -> Path:
    """A YOLOv8n with random weights, biased so that it finds a few things."""
    import torch
    from ultralytics import YOLO

    torch.manual_seed(seed)
    yolo = YOLO("yolov8n.yaml")
    frames = [np.ascontiguousarray(one.pixels[:480, :640, ::-1]) for one in collect([])]
    pictures = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2)).float() / 255
    # Normalised to what the pictures give, as training would have it; else nothing reaches the head.
    yolo.model.train()
    for module in yolo.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        yolo.model(pictures)
    yolo.model.eval()
    for classes, boxes in zip(yolo.model.model[-1].cv3, yolo.model.model[-1].cv2, strict=True):
        torch.nn.init.normal_(classes[-1].weight, std=0.05)
        torch.nn.init.constant_(classes[-1].bias, -3.0)
        torch.nn.init.normal_(boxes[-1].weight, std=0.02)
    yolo.save(path)
    return path


@pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None, reason="needs the extra `export`")
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
def test_ultralytics_exports_what_finds_the_same_and_another_checkpoint_does_not(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    made = export_model(
        _untrained(tmp_path / "best.pt", seed=0),
        out,
        options=ExportOptions(),
        pictures=collect([]),
        confidence=0.25,
        iou=0.45,
        # Untrained weights are worse conditioned than trained ones, which keep to 0.001 px.
        tolerance=Tolerance(box_px=0.02),
    )
    assert made.verification.agrees, made.verification.as_json()
    assert made.verification.objects > 0
    other = _untrained(tmp_path / "other.pt", seed=1)
    refused(model("verify", out, "--reference", other), saying="it differs from other.pt by ultralytics")
