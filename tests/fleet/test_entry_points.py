"""What playbooks call of a role is held against its argument_specs before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fleet.player import ANSIBLE
from tests.fleet.playing import Said, run_plays
from tests.fleet.roles import ROLES, read

PARTS: Final = ("meta", "defaults", "vars")
WRONG: Final = {
    ("agent", "update"): {"nanofleet_keep_releases": "a few"},
    ("agent", "rollback"): {"nanofleet_gate_steady_s": "a while"},
    ("agent", "policy"): {"nanofleet_policy": "policy.yaml"},
    ("agent", "collect"): {"nanofleet_collect_lines": "all"},
    ("agent", "gate"): {"nanofleet_gate_max_error_rate": "low"},
    ("agent", "controller"): {"nanofleet_broker_port": "mqtts"},
    ("observe", "node"): {"nanofleet_observe_metrics_port": "https"},
}
"""By role and entry point, a value that none of its tasks could use."""
STEPS: Final = {("agent", step) for step in ("canaries", "older", "target")}
"""What playbooks call beside them; variables are held by the entry point before or after."""
FITTING: Final = {"nanofleet_waves": [1, "30%"], "nanofleet_gate_wait_s": "20", "nanofleet_gate_steady_s": 5}
"""As a person writes them, and `-e` hands them on."""


def includes(tasks: Any) -> Iterator[tuple[str, str]]:
    """Role and `tasks_from` of each include_role, however deep."""
    if isinstance(tasks, dict):
        included = tasks.get("ansible.builtin.include_role", {})
        if "tasks_from" in included:
            yield included["name"], included["tasks_from"]
    for inner in tasks.values() if isinstance(tasks, dict) else tasks if isinstance(tasks, list) else ():
        yield from includes(inner)


CALLED: Final = sorted(
    {call for book in ANSIBLE.glob("*.yml") for call in includes(yaml.safe_load(book.read_text()))}
)


def test_playbooks_call_entry_points_by_the_words_that_specs_are_found_by() -> None:
    # Ansible looks for the literal word: `update.yml` runs the same tasks and validates nothing.
    assert [call for call in CALLED if "." in call[1]] == []
    assert {call for call in CALLED if call[0] in {"agent", "observe"}} == set(WRONG) | STEPS


@pytest.mark.parametrize("role", ROLES)
def test_specs_are_of_tasks_that_are_there(role: str) -> None:
    for entry in read(role, "meta/argument_specs.yml")["argument_specs"]:
        assert (ANSIBLE / "roles" / role / "tasks" / f"{entry}.yml").is_file(), entry


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """Roles whose entry points do nothing, with the specs and variables of the real ones."""
    for role, entry in WRONG:
        folder = tmp_path / "roles" / role
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            if not (folder / part).exists():
                (folder / part).symlink_to(ANSIBLE / "roles" / role / part)
        (folder / "tasks" / f"{entry}.yml").write_text(
            yaml.safe_dump([{"name": f"Reach {entry}", "ansible.builtin.debug": {"msg": entry}}])
        )
    return tmp_path / "roles"


@pytest.mark.ansible
@pytest.mark.slow
def test_each_entry_point_takes_what_fits_and_refuses_what_does_not(stand_ins: Path, tmp_path: Path) -> None:
    tasks = [
        {
            "block": [
                {
                    "ansible.builtin.include_role": {"name": role, "tasks_from": entry},
                    "vars": wrong if given else FITTING,
                }
            ],
            "rescue": [{"ansible.builtin.debug": {"msg": "on to the next"}}],
        }
        for (role, entry), wrong in WRONG.items()
        for given in (False, True)
    ]
    said = run_plays(
        [{"hosts": "nano-1", "connection": "local", "gather_facts": False, "tasks": tasks}],
        folder=tmp_path,
        inventory=ANSIBLE / "inventories/three",
        variables={},
        roles=stand_ins,
    )
    for (role, entry), wrong in WRONG.items():
        validated = [one for one in said if one.task.startswith(f"{role} : Validating") and _of(one, entry)]
        assert [one.refusal is not None for one in validated] == [False, True], (role, entry)
        assert f"'{next(iter(wrong))}' is of type" in str(validated[1].refusal)
        assert [one.task for one in said].count(f"{role} : Reach {entry}") == 1


def _of(one: Said, entry: str) -> bool:
    return f"arg spec '{entry}'" in one.task
