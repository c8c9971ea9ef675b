"""The benchmark of the pipeline, run as a person runs it, in its short form."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from benchmarks.runs import RUNS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.broker, pytest.mark.ffmpeg, pytest.mark.slow, pytest.mark.timeout(400)]

RATIOS = (
    *("memory_frames_over_raw", "memory_frames_over_raw_one_lane", "agent_over_raw_t2"),
    *("agent_over_raw_all_lanes", "raw_all_lanes_over_one", "four_cameras_over_ideal"),
    "eight_cameras_over_ideal",
)
STAGES = ("capture", "queue", "preprocess", "inference", "postprocess", "outbox", "publish", "ack")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `--quick --json` writes, of the demo's small detector."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    model = files("agent.demo") / "models" / "parts.onnx"
    command = [
        sys.executable,
        "-m",
        "benchmarks.pipeline",
        "--quick",
        "--json",
        str(file),
        "--model",
        str(model),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stderr
    assert "goal" in done.stdout
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.fixture(scope="module")
def figures(written: dict[str, Any]) -> dict[str, float]:
    numbers: dict[str, float] = written["figures"]
    return numbers


def test_quick_run_writes_figures_and_environment_and_nothing_else(written: dict[str, Any]) -> None:
    assert set(written) == {"figures", "environment"}
    assert all(type(number) in {int, float} for number in written["figures"].values())


def test_quick_run_tells_where_it_measured_and_what(written: dict[str, Any]) -> None:
    environment = written["environment"]

    for key in ("cpu", "agent", "python", "numpy", "opencv", "onnxruntime", "provider", "broker"):
        assert environment[key], key
    assert environment["cores"] >= 1
    assert min(environment["load_average_1min"], environment["others_cores"]) >= 0
    assert environment["model"].startswith("parts")
    assert environment["graph_served"] == "exported"  # the demo's own detector has nothing to rewrite
    assert len(environment["model_sha256"]) == 64
    assert (environment["broker"], environment["video"]) == ("mosquitto", "h264 1280x720 15/s")
    assert (environment["rounds"], environment["quick"]) == (1, True)


def test_quick_run_gives_plausible_ratios(figures: dict[str, float]) -> None:
    for name in RATIOS:
        # Wide, because whatever else this machine does meanwhile moves them.
        assert 0.01 < figures[name] < 50, (name, figures[name])


def test_quick_run_delivers_a_message_for_each_frame_of_the_unpaced_videos(
    figures: dict[str, float], written: dict[str, Any]
) -> None:
    unpaced = sum(task.cameras for task in RUNS.values() if task.pace == "fast")

    assert figures["messages_produced"] > unpaced * written["environment"]["video_frames"]
    assert figures["messages_acknowledged"] == figures["messages_produced"]
    assert (figures["messages_lost"], figures["messages_missing"]) == (0, 0)


def test_quick_run_sees_the_parts_in_the_video(figures: dict[str, float]) -> None:
    assert figures["objects_per_frame"] > 3


def test_quick_run_knows_every_stage_from_capture_to_puback(figures: dict[str, float]) -> None:
    for run in RUNS:
        for stage in (*STAGES, "capture_to_ack"):
            p50, p95, p99, longest = (figures[f"{run}_{stage}_{p}_ms"] for p in ("p50", "p95", "p99", "max"))
            assert 0 <= p50 <= p95 <= p99 <= longest, (run, stage)
        assert figures[f"{run}_capture_to_ack_p50_ms"] > figures[f"{run}_inference_p50_ms"]


def test_quick_run_measures_the_process_and_its_loop(figures: dict[str, float]) -> None:
    for name in ("peak_mb_one_lane", "peak_mb_all_lanes"):
        assert 50 < figures[name] < 4000, name
    assert 0 < figures["loop_lag_p99_ms"] <= figures["loop_lag_max_ms"]


def test_a_model_that_is_not_there_ends_with_one_sentence() -> None:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--quick", "--model", "absent.onnx"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "absent.onnx cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
