"""The benchmark of explain and what-if, in its short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    written = tmp_path / "hindsight.json"
    words = [sys.executable, "-m", "benchmarks.hindsight", "--quick", "--json", str(written)]
    subprocess.run(words, check=True, timeout=55, capture_output=True)
    figures = json.loads(written.read_text())["figures"]
    assert figures["loop_us_per_frame"] < figures["decode_us"]
    assert 0 < figures["bytes_per_frame"] < 10_000
    assert figures["trial_frames_per_s"] > 0
    assert figures["tracked_trial_frames_per_s"] > 0
    assert figures["rate_beside_trial"] > 0
    assert 0 < figures["trial_share_of_core"] < 0.5
