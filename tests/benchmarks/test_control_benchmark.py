"""The benchmark of control runs, and measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_threshold_from_the_broker_is_timed_and_costs_no_frame(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = [sys.executable, "-m", "benchmarks.control", "--quick", "--json", str(file)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["figures"]
    assert figures["frames_missing"] == 0
    for name in ("threshold", "threshold_arrived", "threshold_told"):
        assert 0 < figures[f"{name}_p50_ms"] <= figures[f"{name}_p95_ms"] <= figures[f"{name}_max_ms"]
    assert figures["threshold_arrived_p50_ms"] >= figures["threshold_p50_ms"]
