"""The outbox's benchmark runs, and its figures are of what it says."""

import json
import math
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from benchmarks import outbox


@pytest.mark.slow
def test_the_short_form_writes_every_figure(tmp_path: Path) -> None:
    app = Typer()
    app.command()(outbox.main)
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(app, ["--quick", "--json", str(file), "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    written = json.loads(file.read_text())
    assert set(written) == {"figures", "environment"}
    measured = ("rows_per_s", "append_p99_ms", "append_max_ms")
    assert set(written["figures"]) == {f"{name}_{what}" for name in outbox.RUNS for what in measured}
    assert all(value > 0 and math.isfinite(value) for value in written["figures"].values())
