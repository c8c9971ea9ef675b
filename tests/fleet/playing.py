"""Plays on this machine by Ansible itself, and what each task said of each host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fleet.player import ANSIBLE, run_playbook


@dataclass(frozen=True, slots=True)
class Said:
    """What a task said of a host."""

    host: str
    task: str
    result: Mapping[str, Any]

    @property
    def refusal(self) -> str | None:
        """Why the host may not go on; None if it may. In one line, as `assert` and `fail` say it."""
        if not self.result.get("failed"):
            return None
        items = [item for item in self.result.get("results", ()) if item.get("failed")]
        return " ".join("; ".join(str(one.get("msg")) for one in items or [self.result]).split())


def run_plays(
    plays: Sequence[Mapping[str, Any]],
    *,
    folder: Path,
    inventory: Path | Mapping[str, Any],
    variables: Mapping[str, Any],
    roles: Path = ANSIBLE / "roles",
    arguments: Sequence[str] = (),
) -> list[Said]:
    """Run plays with the roles of a folder; hosts may fail. The test needs the marker `ansible`."""
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump(list(plays), sort_keys=False))
    if not isinstance(inventory, Path):
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        inventory = folder / "hosts.yml"
    known = {"ansible_python_interpreter": "{{ ansible_playbook_python }}", **variables}
    done = run_playbook(
        *("-i", str(inventory), str(book), "-e", json.dumps(known), *arguments),
        environment={
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_ROLES_PATH": str(roles),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
    )
    assert done.stdout.startswith("{"), done.stdout[-3000:] + done.stderr[-3000:]
    return list(_read(json.loads(done.stdout)))


def refusals(said: Sequence[Said]) -> dict[str, str]:
    """Of each host that a task failed for, what the last such task said."""
    return {one.host: one.refusal for one in said if one.refusal is not None}


def _read(document: Mapping[str, Any]) -> Iterator[Said]:
    for play in document["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                yield Said(host, task["task"]["name"], result)
