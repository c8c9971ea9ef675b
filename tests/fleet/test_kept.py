"""What a release passed its gate with is laid aside, and a return brings it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fleet.playing import refusals, run_plays

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(120)]

VERSION = "0.2.0"
FILES = ("agent.toml", "nanofleet.service", "policy.yaml")


def run(folder: Path, tasks_from: str) -> bool:
    """Run these tasks over the release; whether any of them changed it."""
    variables: dict[str, Any] = {
        "__nanofleet_releases": str(folder),
        "__nanofleet_passed": VERSION,
        "__nanofleet_back_to": VERSION,
    }
    tasks = [{"ansible.builtin.include_role": {"name": "agent", "tasks_from": tasks_from}}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    said = run_plays(
        [play], folder=folder, inventory={"all": {"hosts": {"localhost": {}}}}, variables=variables
    )
    assert refusals(said) == {}
    return any(one.result.get("changed") for one in said)


def write(folder: Path, text: str) -> None:
    for name in FILES:
        (folder / name).write_text(text)
        (folder / name).chmod(0o640)


def held(folder: Path) -> dict[str, tuple[str, int]]:
    return {file.name: (file.read_text(), file.stat().st_mode & 0o777) for file in folder.iterdir()}


def test_what_was_tried_since_gives_way_to_what_was_accepted(tmp_path: Path) -> None:
    etc = tmp_path / VERSION / "etc"
    etc.mkdir(parents=True)
    write(etc, "accepted")
    assert not run(tmp_path, "restore")  # of a release that never passed, nothing was kept
    assert not run(tmp_path, "keep")
    before = held(etc)
    assert not run(tmp_path, "restore")
    write(etc, "tried")
    assert run(tmp_path, "restore")
    assert held(etc) == before
    write(etc, "accepted, too")
    run(tmp_path, "keep")
    assert held(tmp_path / VERSION / "accepted") == held(etc)
    assert sorted(path.name for path in (tmp_path / VERSION).iterdir()) == ["accepted", "etc"]
