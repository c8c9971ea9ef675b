"""The shadow's benchmark: ratios within pairs, and the command on a small model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.shadow import Block, figures_of

MODEL = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"


def block(shadowed: bool, ms: float, rate_hz: float, compared: int = 0) -> Block:
    return Block(shadowed, (ms,) * 10, rate_hz, compared)


def test_ratios_are_of_neighbours_whichever_came_first() -> None:
    figures = figures_of(
        [block(True, 11, 5, 10), block(False, 10, 5), block(False, 20, 5), block(True, 22, 4, 5)]
    )
    assert figures["shadow_p50_ratio"] == figures["shadow_p95_ratio"] == 1.1
    assert figures["primary_p50_ms"] == 15
    assert figures["shadow_rate_ratio"] == 0.9
    assert (figures["shadow_frames"], figures["shadow_frames_share"]) == (15, 0.75)


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    written = tmp_path / "shadow.json"
    words = [*(sys.executable, "-m", "benchmarks.shadow", "--quick", "--rate", "10")]
    subprocess.run([*words, "--model", str(MODEL), "--json", str(written)], check=True, timeout=50)
    told = json.loads(written.read_text())
    assert told["figures"]["primary_p50_ms"] > 0
    assert told["environment"]["model"] == "parts.onnx"
