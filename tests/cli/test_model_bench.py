"""`nanofleet model bench`, as a person and as a script calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.serving.tuning import beside, read_tuning
from tests.cli.model_command import model, refused
from tests.onnx_files import colour_detector

SHORT = ("--seconds", "0.05", "--rounds", "1")


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return colour_detector(tmp_path / "colours.onnx", sides=(1, 3, 64, 96))


def test_lanes_asked_for_are_measured_and_written(detector: Path, tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    done = model("bench", detector, "--lanes", "2", *SHORT, "--json", figures)
    assert done.exit_code == 0, done.output
    assert "2 lanes x 1" in done.stdout
    written = json.loads(figures.read_text())
    assert set(written) == {"figures", "environment", "setups", "refused", "tuning"}
    assert [setup["name"] for setup in written["setups"]] == ["2 lanes x 1"]
    assert {f"2 lanes x 1: {name}" for name in ("per_second", "peak_mb", "run_p50_ms", "all_p99_ms")} <= set(
        written["figures"]
    )
    assert written["tuning"] is None
    assert not beside(detector).exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tuning_is_kept_beside_the_model(detector: Path) -> None:
    done = model("bench", detector, "--tune", *SHORT)
    assert done.exit_code == 0, done.output
    tuning = read_tuning(beside(detector))
    assert tuning is not None
    assert tuning.why_stale(detector, provider="cpu", machine=tuning.machine) is None
    assert {"one camera:", "several cameras:"} <= {
        line[: line.find(":") + 1] for line in done.stdout.splitlines()
    }
    assert any("busy beside" in figure.setup for figure in tuning.figures)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tune", "--lanes", "2"), "measures the lanes that it chooses from"),
        (("--latency-ms", "50"), "go with it"),
        (("--lanes", "0"), "numbers from 1 to 64"),
        (("--batch", "a"), "numbers from 1 to 64"),
        (("--shape", "64"), "HEIGHTxWIDTH"),
    ],
)
def test_options_that_make_no_sense_are_told(detector: Path, words: tuple[str, ...], told: str) -> None:
    done = model("bench", detector, *words)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


def test_what_cannot_be_kept_is_told_before_the_work(detector: Path, tmp_path: Path) -> None:
    done = model("bench", detector, "--tune", "--keep", tmp_path / "none" / "t.json")
    assert done.exit_code == 78
    assert "--keep" in done.stderr


def test_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(b"nothing")
    refused(model("bench", path), saying="none.onnx")
