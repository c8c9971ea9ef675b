"""`nanofleet model …` within this process: what it prints where, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from typer.testing import CliRunner, Result

from agent.cli import app

PARTS: Final = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"
VIBRATION: Final = PARTS.with_name("vibration.onnx")


def model(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)], catch_exceptions=False)


def refused(done: Result, *, saying: str) -> None:
    """It ended with 1 and one sentence that says what is wrong."""
    assert done.exit_code == 1, done.output
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("nanofleet model ")
    assert saying in done.stderr
