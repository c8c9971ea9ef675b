"""The first dry run on a bare host: what is not there yet is said, and nothing fails for want of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.role_pki import play

pytestmark = [pytest.mark.ansible, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


def dry_run(folder: Path, role: str, **variables: Any) -> str:
    """The tasks that install, on this machine as if the program were not on it."""
    bare = {
        "__nanofleet_broker_there": {"stat": {"exists": False}},
        "__nanofleet_observe_program": {"stat": {"exists": False}},
    }
    task = {"ansible.builtin.include_role": {"name": role, "tasks_from": "install.yml"}}
    return play(folder, [task], options=("--check", "-e", json.dumps(bare)), **variables)


@pytest.mark.parametrize(
    ("files", "told"),
    [(["/nowhere/mosquitto.deb"], "/nowhere/mosquitto.deb"), ([], "the packages of the system")],
)
def test_a_dry_run_says_how_the_broker_would_be_installed(
    tmp_path: Path, files: list[str], told: str
) -> None:
    said = dry_run(tmp_path, "broker", nanofleet_broker_package_files=files)
    assert f"mosquitto would be installed from {told}" in said
    assert "failed=0" in said


def test_a_dry_run_says_that_an_observer_would_be_installed(tmp_path: Path) -> None:
    said = dry_run(tmp_path, "observe")
    assert "prometheus would be installed from the packages of the system" in said
    assert "failed=0" in said
