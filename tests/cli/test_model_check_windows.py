"""`nanofleet model check-windows`, as a person and as a script calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.model import app
from tests.onnx_files import colour_detector
from tests.window_files import half, persistence, window_metadata

VIBRATION = Path(__file__).parents[2] / "agent/demo/models/vibration.onnx"
NORMAL = "x,y\n" + "0.1,-0.1\n-0.1,0.1\n" * 20


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["check-windows", *map(str, words)])


def test_demo_model_tells_faults_and_raises_no_false_alarm() -> None:
    result = run(VIBRATION, "--windows", "50", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["ok"]
    assert (found["model"]["kind"], found["scores"]["windows"]) == ("autoencoder", 50)
    assert found["scores"]["false_alarms"] == 0
    assert found["faults_told"] > 0.9
    assert found["scores"]["percentiles"]["most"] < found["model"]["threshold"]


def test_person_sees_kind_scores_and_threshold() -> None:
    result = run(VIBRATION, "--windows", "20")
    assert result.exit_code == 0
    for told in ("autoencoder", "128 samples of x, y, z at 200 Hz", "false alarms", "0.1011"):
        assert told in result.stdout


def test_own_recording_is_scored(tmp_path: Path) -> None:
    recording = tmp_path / "normal.csv"
    recording.write_text(NORMAL)
    said = window_metadata(kind="forecaster", horizon=2, threshold=0.03, hop=1)
    result = run(persistence(tmp_path / "f.onnx", metadata=said), "--csv", recording, "--json")
    found = json.loads(result.stdout)
    # It expects the last sample again; one of the next two is 0.2 off in both channels: 0.04 / 2.
    assert found["scores"]["percentiles"]["p50"] == pytest.approx(0.02, rel=1e-4)
    assert (found["scores"]["windows"], found["faults_told"]) == (35, None)
    assert result.exit_code == 0


def test_too_many_false_alarms_fail_with_a_threshold_that_would_do(tmp_path: Path) -> None:
    recording = tmp_path / "normal.csv"
    recording.write_text(NORMAL)
    path = half(tmp_path / "a.onnx", sides="6,2", metadata=window_metadata(threshold=0.001))
    result = run(path, "--csv", recording)
    assert result.exit_code == 1
    assert "100.0% of the normal windows are above the threshold" in result.stderr
    told = re.search(r"a threshold of (0\.00250\d) would be above them all", result.stderr)
    assert told
    half(path, sides="6,2", metadata=window_metadata(threshold=float(told[1])))
    assert run(path, "--csv", recording, "--most", "0").exit_code == 0
    half(path, sides="6,2", metadata=window_metadata(threshold=0.001))
    assert run(path, "--csv", recording, "--most", "1").exit_code == 0


def test_all_that_the_file_lacks_is_told(tmp_path: Path) -> None:
    said = window_metadata(window=None, rate_hz=-1, kind="forecast")
    result = run(half(tmp_path / "a.onnx", sides="6,2", metadata=said), "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["ok"]
    assert found["scores"] is None
    assert [
        word for word in ("window", "rate_hz", "kind") if any(word in one for one in found["problems"])
    ] == [
        "window",
        "rate_hz",
        "kind",
    ]
    assert all(problem in result.stderr for problem in found["problems"])


def test_detector_is_told_to_be_none(tmp_path: Path) -> None:
    result = run(colour_detector(tmp_path / "colours.onnx"))
    assert result.exit_code == 1
    assert "metadata task is detect; for sensor windows anomaly would be right" in result.stderr


def test_input_of_another_form_is_told(tmp_path: Path) -> None:
    result = run(half(tmp_path / "a.onnx", sides="2,6", metadata=window_metadata()))
    assert result.exit_code == 1
    assert "layout: NCW would be right" in result.stderr
    assert "Traceback" not in result.stderr
