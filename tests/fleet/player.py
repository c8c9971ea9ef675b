"""ansible-playbook, with the project's roles, filters and modules, wherever it is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ANSIBLE: Final = REPOSITORY / "deploy/ansible"
PLAYER: Final = REPOSITORY / ".venv-ansible/bin/ansible-playbook"
_TIMEOUT_S: Final = 500


def surroundings(**more: str) -> dict[str, str]:
    """The environment in which Ansible finds what is the project's, whatever folder it runs in."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
        "ANSIBLE_FILTER_PLUGINS": str(ANSIBLE / "filter_plugins"),
        "ANSIBLE_LIBRARY": str(ANSIBLE / "library"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_RETRIES": "0",
        "COLUMNS": "400",
        **more,
    }


def run_playbook(
    *words: str,
    folder: Path = ANSIBLE,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it in `folder` to its end, however that is. `before`: a command that runs it."""
    return subprocess.run(
        [*before, str(PLAYER), *words],
        env=surroundings(**(environment or {})),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def heard(done: subprocess.CompletedProcess[str], *, fails: bool = False) -> str:
    """What it printed; `fails`: it has to have failed, and else not."""
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said[-5000:]
    return said
