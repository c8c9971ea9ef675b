"""The benchmark of signed control, in its short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    written = tmp_path / "signing.json"
    words = [sys.executable, "-m", "benchmarks.signing", "--quick", "--json", str(written)]
    subprocess.run(words, check=True, timeout=55, capture_output=True)
    figures = json.loads(written.read_text())["figures"]
    assert 0 < figures["small_verify_p50_ms"] < figures["largest_verify_p50_ms"]
    assert figures["peak_mb_without_keys"] < figures["peak_mb_with_keys"]
