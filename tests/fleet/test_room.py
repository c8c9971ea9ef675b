"""A disk is looked at before an installation fills it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fleet.playing import refusals, run_plays

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(120)]

ROOM = {"ansible.builtin.include_role": {"name": "agent", "tasks_from": "room"}}


def refused(folder: Path, *, wheel_bytes: int, archive_bytes: int, shared: bool) -> str | None:
    """What is said of a release of this size, on the disk of the test's folder; None: there is room."""
    variables: dict[str, Any] = {
        "__nanofleet_home": str(folder),
        "__nanofleet_archive": "wheels.tar",
        "__nanofleet_environment_there": {"stat": {"exists": shared}},
        "__nanofleet_release": {
            "version": "0.2.0",
            "wheel": "agent.whl",
            "files": {"agent.whl": {"bytes": wheel_bytes}, "wheels.tar": {"bytes": archive_bytes}},
        },
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [ROOM]}
    inventory: dict[str, Any] = {"all": {"hosts": {"localhost": {}}}}
    return refusals(run_plays([play], folder=folder, inventory=inventory, variables=variables)).get(
        "localhost"
    )


def test_a_release_that_no_disk_holds_is_refused_before_it_is_brought(tmp_path: Path) -> None:
    told = refused(tmp_path, wheel_bytes=1 << 20, archive_bytes=10**18, shared=False)
    assert told is not None
    assert f"MB free below {tmp_path}; release 0.2.0 wants 4291534423834 MB for its installation" in told


def test_wheels_that_are_there_take_no_room(tmp_path: Path) -> None:
    assert refused(tmp_path, wheel_bytes=1 << 20, archive_bytes=10**18, shared=True) is None
