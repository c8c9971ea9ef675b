"""TensorRT's engine, built beside what serves, on the stand-in for its library."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until_blocking
from tests.stand_ins import gpu

BUILD = """
import json, sys, threading
from pathlib import Path
import numpy as np
from agent.adapters.onnx import load_model
from agent.adapters.onnx.accelerator import Accelerator
from agent.adapters.onnx.session import SessionSettings
from agent.adapters.onnx.upgrade import EngineUpgrade
from agent.domain.errors import NanofleetError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
path, root = Path(sys.argv[1]), Path(sys.argv[2])
limit_s, stop_after_s = float(sys.argv[3]), float(sys.argv[4])
serving = load_model(name="colours", path=path, provider="cuda", meanwhile_for="tensorrt", max_batch=2)
settings = SessionSettings(accelerator=Accelerator(precision="fp16"))
upgrade = EngineUpgrade(serving=serving, settings=settings, root=root, limit_s=limit_s)
said = {"asked": serving.facts.provider_asked, "meanwhile": serving.facts.provider_used, "told": []}
stop = threading.Event()
threading.Timer(stop_after_s, stop.set).start() if stop_after_s else None
try:
    new = upgrade.build(tell=said["told"].append, stop=stop)
    said["used"] = new.facts.provider_used
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 2] = 255
    said["same"] = [m.detect([Look(red, Thresholds())])[0][0].boxes.tolist() for m in (serving, new)]
except NanofleetError as error:
    said |= {"code": str(error.code), "message": error.message}
said["files"] = sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())
print(json.dumps(said))
"""


def build(
    tmp_path: Path,
    *,
    wrong: str = "",
    gate: Path | None = None,
    limit_s: float = 30,
    stop_after_s: float = 0,
    sides: tuple[int | str, ...] = ("batch", 3, "height", "width"),
) -> dict[str, Any]:
    path = gpu.colour_model(tmp_path / "colours.onnx", sides=sides)
    said: dict[str, Any] = gpu.run(
        BUILD, path, tmp_path / "engines", limit_s, stop_after_s, wrong=wrong, gate=gate
    )["said"]
    return said


def test_an_engine_is_built_kept_and_opened_again(tmp_path: Path) -> None:
    said = build(tmp_path)
    assert (said["asked"], said["meanwhile"], said["used"]) == ("tensorrt", "cuda", "tensorrt")
    assert said["same"][0] == said["same"][1] != []
    assert said["told"] == [0.0]
    engines = [each for each in said["files"] if each.endswith(".engine")]
    assert len(engines) == 1

    # Nobody opens the gate: what would be built now would never be ready.
    again = build(tmp_path, gate=tmp_path / "never")
    assert (again["used"], again["told"], again["files"]) == ("tensorrt", [], said["files"])


def test_another_model_or_other_shapes_have_an_engine_of_their_own(tmp_path: Path) -> None:
    build(tmp_path)
    said = build(tmp_path, sides=(1, 3, 64, 96))
    assert len([each for each in said["files"] if each.endswith(".engine")]) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("engine-fails", "failed to create engine from network"), ("engine-crashes", "exit code -6")],
)
def test_a_build_that_fails_is_told_and_leaves_nothing_that_looks_whole(
    tmp_path: Path, wrong: str, words: str
) -> None:
    said = build(tmp_path, wrong=wrong)
    assert said["code"] == "E_PROVIDER"
    assert words in said["message"]
    assert not any(each.endswith(("ready.json", ".engine")) for each in said["files"])
    assert build(tmp_path)["used"] == "tensorrt"


def test_a_build_that_does_not_end_is_ended(tmp_path: Path) -> None:
    said = build(tmp_path, gate=tmp_path / "never", limit_s=1)
    assert "did not end within 1 s" in said["message"]


def test_a_build_is_stopped_with_the_agent(tmp_path: Path) -> None:
    assert "was stopped" in build(tmp_path, gate=tmp_path / "never", stop_after_s=0.5)["message"]


@pytest.mark.slow
def test_a_build_ends_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    path = gpu.colour_model(tmp_path / "colours.onnx")
    agent = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(path), str(tmp_path / "engines"), "30", "0"],
        env=gpu.environment(gate=tmp_path / "never"),
        cwd=gpu.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_blocking(lambda: bool(_children(agent.pid)), within_s=30)
        (builder,) = _children(agent.pid)
        until_blocking(lambda: _has_its_order(builder), within_s=30)
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.wait(timeout=10)
    until_blocking(lambda: not Path(f"/proc/{builder}/cmdline").exists() or _is_zombie(builder), within_s=10)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def _has_its_order(pid: int) -> bool:
    """It has asked the kernel to end with its parent once it reads nothing more from standard input."""
    stdin = Path(f"/proc/{pid}/fd/0")
    maps = Path(f"/proc/{pid}/maps").read_text()
    return stdin.exists() and "_multiarray_umath" in maps and "sleep" in _waits_in(pid)


def _waits_in(pid: int) -> str:
    return Path(f"/proc/{pid}/wchan").read_text()


def _is_zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
