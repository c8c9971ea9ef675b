"""What a node keeps of the releases it had: what it runs, what it would go back to, and the newest others."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.fleet.player import ANSIBLE
from tests.fleet.playing import refusals, run_plays

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(120)]

RELEASES = [f"0.{number}.0" for number in range(1, 9)]
RUNS, BEFORE, KEPT = "0.5.0", "0.2.0", 4


def thin_out(folder: Path) -> None:
    """Run it over eight releases, of which the first is the oldest and each has passwords of its own."""
    for age, name in enumerate(RELEASES):
        release = folder / "releases" / name
        (release / "etc").mkdir(parents=True)
        (release / "etc/agent.toml").write_text(f"password_file = door-{name}-.password\n")
        (release / "complete.json").write_text(json.dumps({"environment": f"env-{name}-"}))
        (folder / f"environments/env-{name}-").mkdir(parents=True)
        for kind in ("secrets", "keys"):
            (folder / "etc" / kind).mkdir(parents=True, exist_ok=True)
        (folder / f"etc/secrets/door-{name}-.password").write_text("x")
        os.utime(release, (1e9 + age, 1e9 + age))
    tasks = [{"ansible.builtin.include_role": {"name": "agent", "tasks_from": "thin_out"}}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    said = run_plays(
        [play],
        folder=folder,
        inventory={"all": {"hosts": {"localhost": {}}}},
        variables={
            "nanofleet_keep_releases": KEPT,
            "__nanofleet_releases": str(folder / "releases"),
            "__nanofleet_environments": str(folder / "environments"),
            "__nanofleet_etc": str(folder / "etc"),
            "__nanofleet_new": str(folder / "releases" / RUNS),
            "__nanofleet_accepted": {"release": RUNS, "before": BEFORE},
        },
    )
    assert refusals(said) == {}


def test_the_oldest_go_with_all_that_only_they_need(tmp_path: Path) -> None:
    thin_out(tmp_path)
    stay = {RUNS, BEFORE, *RELEASES[-(KEPT - 2) :]}
    assert {path.name for path in (tmp_path / "releases").iterdir()} == stay
    assert {path.name for path in (tmp_path / "environments").iterdir()} == {f"env-{name}-" for name in stay}
    assert {path.name for path in (tmp_path / "etc/secrets").iterdir()} == {
        f"door-{name}-.password" for name in stay
    }


def test_no_filter_forgets_the_order() -> None:
    """Ansible's filters for sets answer in any order: `select('in', …)` and `reject('in', …)` keep it."""
    forgets = re.compile(r"\b(union|intersect|difference|symmetric_difference)\(")
    files = [*ANSIBLE.glob("*.yml"), *ANSIBLE.glob("roles/**/*.yml"), *ANSIBLE.glob("roles/**/*.j2")]
    assert len(files) > 100
    assert [str(file.relative_to(ANSIBLE)) for file in files if forgets.search(file.read_text())] == []
