from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.model_command import PARTS, VIBRATION, model, refused


def test_pack_makes_the_package_that_it_tells_of(tmp_path: Path) -> None:
    out = tmp_path / "vibration.zip"
    done = model("pack", VIBRATION, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["file"], said["goldens"]) == (str(out), 4)
    again = model("pack", VIBRATION, "--out", tmp_path / "folder", "--json")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "folder" / "model.yaml").is_file()


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("missing/p.zip", "there is no folder"),
        ("missing/p", "there is no folder"),
        ("taken", "something is there already"),
        ("taken/file", "something is there already"),
        ("folder.zip", "it is a folder"),
    ],
)
def test_pack_says_before_it_begins_where_it_cannot_write(tmp_path: Path, out: str, why: str) -> None:
    for name in ("taken", "folder.zip"):
        (tmp_path / name).mkdir()
    (tmp_path / "taken" / "file").touch()
    done = model("pack", PARTS, "--out", tmp_path / out)
    refused(done, saying=why)
    assert f"--out: {tmp_path / out} cannot be written" in done.stderr
