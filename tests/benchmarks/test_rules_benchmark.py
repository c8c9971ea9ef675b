"""The benchmark of rules, in its short form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_rules_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rules", "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["figures"]
    assert figures["rules"] == 100
    assert figures["events_per_s"] > 0
    # CPU time, of which other work on the machine changes little; the goal is 5.
    assert 0 < figures["percent_of_one_core"] < 10
    assert 0 < figures["limit_ms_per_frame"] < 10
