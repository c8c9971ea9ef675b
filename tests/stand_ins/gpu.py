"""A GPU that is not there: our code in a child process, on the stand-in for onnxruntime-gpu."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "tests" / "stand_ins" / "onnxruntime_gpu"


def environment(*, wrong: str = "", gate: Path | None = None) -> dict[str, str]:
    """Of a process in which `wrong` goes wrong, and engines wait for `gate`."""
    said = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(LIBRARY), str(ROOT)]),
        "ONNXRUNTIME_STAND_IN": wrong,
    }
    return said | ({"ONNXRUNTIME_STAND_IN_GATE": str(gate)} if gate else {})


def colour_model(path: Path, *, sides: Sequence[int | str] = ("batch", 3, "height", "width")) -> Path:
    """A model file for the stand-in: `tests.onnx_files.colour_detector` in its way."""
    from tests.onnx_files import COLOUR_METADATA

    said = {
        "inputs": [{"name": "images", "shape": list(sides), "type": "tensor(float)"}],
        "outputs": [{"name": "output0", "shape": [sides[0], 7, 2], "type": "tensor(float)"}],
        "metadata": COLOUR_METADATA,
    }
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def run(script: str, *arguments: object, wrong: str = "", gate: Path | None = None) -> dict[str, Any]:
    """What `script` prints as its last line, JSON, under `said`; and all that it printed, under `told`."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(wrong=wrong, gate=gate),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.strip().splitlines()
    return {"said": json.loads(last), "told": done.stdout + done.stderr}
