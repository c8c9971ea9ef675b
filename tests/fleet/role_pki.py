"""The role `pki` by real Ansible, on this machine and in a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.fleet.player import heard, run_playbook

PASSPHRASE: Final = "not to be seen anywhere"

OWN: Final = {
    "subject": "CN = nano-1",
    "asked": "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n"
    "extendedKeyUsage = clientAuth",
}
"""What the host of nano-1 may ask for."""


def request(folder: Path, *, subject: str, asked: str, curve: str = "prime256v1") -> str:
    """A request as a host makes it, PEM; its key is in key.pem."""
    settings = folder / "request.cnf"
    settings.write_text(
        f"[req]\nprompt = no\ndistinguished_name = name\nreq_extensions = asked\n[name]\n{subject}\n"
        f"[asked]\n{asked}\n"
    )
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes"]
    command += ["-keyout", str(folder / "key.pem"), "-config", str(settings)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def written(folder: Path, tasks: Sequence[Mapping[str, Any]], **variables: Any) -> Path:
    """A playbook over this machine, with an authority in `folder`. A variable that is None is not there."""
    told = {
        "nanofleet_pki_dir": str(folder / "pki"),
        "nanofleet_pki_ca_passphrase": PASSPHRASE,
        "nanofleet_pki_clients": ["controller"],
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    given = {name: value for name, value in (told | variables).items() if value is not None}
    head = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": given}
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([{**head, "tasks": list(tasks)}]))
    return book


def play(
    folder: Path,
    tasks: Sequence[Mapping[str, Any]],
    *,
    options: Sequence[str] = ("-vvv",),
    inventory: str = "localhost,",
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    fails: bool = False,
    **variables: Any,
) -> str:
    """What the playbook printed. `before`: a command that runs it. `fails`: that it must."""
    book = str(written(folder, tasks, **variables))
    words = ("-i", inventory, *options, book)
    return heard(run_playbook(*words, folder=folder, before=before, environment=environment), fails=fails)


def role(tasks_from: str, **variables: Any) -> dict[str, Any]:
    """A task that runs these tasks of the role."""
    include = {"ansible.builtin.include_role": {"name": "pki", "tasks_from": tasks_from}}
    return {"name": f"Run {tasks_from}", **include, **({"vars": variables} if variables else {})}


def signing(pem: str) -> dict[str, Any]:
    """A task that signs a request of nano-1, or refuses it."""
    return role(
        "sign.yml",
        __nanofleet_pki_request=pem,
        __nanofleet_pki_subject="nano-1",
        __nanofleet_pki_purpose="client",
        __nanofleet_pki_san=[],
        __nanofleet_pki_for="180d",
    )


def as_root() -> list[str]:
    """Before a command that gives files to root: nothing for root, else a namespace where we are it."""
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]


def stand_in(folder: Path, program: str, script: str) -> str:
    """A PATH on which `program` is this script (of sh)."""
    place = folder / "stand-ins"
    place.mkdir(exist_ok=True)
    (place / program).write_text(f"#!/bin/sh\n{script}\n")
    (place / program).chmod(0o755)
    return f"{place}:{os.environ['PATH']}"
