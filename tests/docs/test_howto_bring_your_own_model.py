"""docs/howto/bring-your-own-model.md, done as it says, but for what needs the trainer's library."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.model_command import PARTS
from tools.render_dataset import render

HOWTO: Final = Path(__file__).parents[2] / "docs/howto/bring-your-own-model.md"


def blocks() -> list[tuple[str, str]]:
    """The commands in their order, and the word beside `sh`."""
    found = re.findall(r"^```sh ?(\w*)\n(.*?)^```", HOWTO.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(word, text) for word, text in found]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_bring_your_own_model_howto_works_as_written(tmp_path: Path) -> None:
    shutil.copy(PARTS, tmp_path / "best.onnx")
    render(tmp_path / "dataset", pictures=4, seed=920_000_000)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    told = []
    for word, commands in blocks():
        if word == "export":
            continue
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        told.append(done.stdout)
    verified, inspected, evaluated, prepared, packed = told
    assert verified.count("pass") == 8
    assert "GFLOPs" in inspected
    assert "AP50-95" in evaluated
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    assert "best.onnx" in prepared
    assert packed.count("4 golden inputs agree") == 2
    assert (tmp_path / "best.zip").is_file()


def test_the_block_that_needs_the_trainers_library_is_the_first_one_alone() -> None:
    assert [word for word, _ in blocks()] == ["export", "", "", "", "", ""]
