"""The roles as files: their variables, their templates, and Ansible itself where only it can tell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import yaml

from tests.fleet.player import ANSIBLE, PLAYER, heard, run_playbook

ROLES: Final = ("agent", "broker", "observe", "pki")
_TIMEOUT_S: Final = 300

_RENDER: Final = """\
import json, sys
from jinja2 import Environment, FileSystemLoader, StrictUndefined
folder, name = sys.argv[1:]
environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True,
                          keep_trailing_newline=True)
sys.stdout.write(environment.get_template(name).render(json.load(sys.stdin)))
"""
"""As Ansible sets up Jinja2."""


def read(role: str, file: str) -> Any:
    """A YAML file of a role."""
    return yaml.safe_load((ANSIBLE / "roles" / role / file).read_text())


def options(role: str) -> dict[str, Any]:
    """What the role's argument_specs say of its variables, over all its entry points."""
    found: dict[str, Any] = {}
    for entry in read(role, "meta/argument_specs.yml")["argument_specs"].values():
        found |= entry["options"]
    return found


def filters(name: str = "nanofleet") -> ModuleType:
    """The roles' filters of one file, as Ansible loads them."""
    spec = importlib.util.spec_from_file_location(f"{name}_filters", ANSIBLE / f"filter_plugins/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def render(role: str, template: str, values: Mapping[str, Any]) -> str:
    """A template of a role with these values. The test needs the marker `ansible`."""
    done = subprocess.run(
        [
            str(PLAYER.with_name("python")),
            "-c",
            _RENDER,
            str(ANSIBLE / "roles" / role / "templates"),
            template,
        ],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def play(
    role: str, tasks: str, *, inventory: str, folder: Path, variables: Mapping[str, Any], serial: str = "100%"
) -> None:
    """Run other tasks in a role's place, on an example inventory, without reaching any of its hosts.

    All of them at once, or `serial` (as a play has it) a wave.
    """
    stand_in = folder / "roles" / role
    (stand_in / "tasks").mkdir(parents=True)
    (stand_in / "tasks/main.yml").write_text(tasks)
    for part in ("defaults", "vars", "templates"):
        (stand_in / part).symlink_to(ANSIBLE / "roles" / role / part)
    file = folder / "play.yml"
    # Before the first play Ansible knows no variables of hosts.
    head = "- hosts: localhost\n  gather_facts: false\n- hosts: nodes\n  gather_facts: false\n"
    file.write_text(f"{head}  connection: local\n  serial: {json.dumps(serial)}\n  roles: [{role}]\n")
    heard(
        run_playbook(
            *("-i", str(ANSIBLE / "inventories" / inventory), str(file)),
            *("-e", json.dumps(variables), "-e", "ansible_python_interpreter={{ ansible_playbook_python }}"),
            environment={
                "ANSIBLE_HOME": str(folder / "ansible"),
                "ANSIBLE_ROLES_PATH": str(folder / "roles"),
            },
        )
    )
