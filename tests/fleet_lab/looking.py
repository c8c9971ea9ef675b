"""What the story looks at: files on hosts, what the broker answers, what a playbook printed."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from tests.fleet_lab.fleet import Fleet
from tests.polling import until_blocking
from tests.programs import find_program


def identity_files(folder: Path, *, key: str = "secrets/node.key") -> list[str]:
    """Whose certificate lies in `folder`, as mosquitto's clients want to hear it."""
    files = {"--cafile": "ca.pem", "--cert": "node.pem", "--key": key}
    return [word for option, name in files.items() for word in (option, str(folder / name))]


def speak(fleet: Fleet, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of mosquitto's clients, at the fleet's broker, from the controller."""
    path = find_program(program)
    assert path is not None
    return subprocess.run(
        [path, "-V", "mqttv5", "-h", fleet.broker, "-p", "8883", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def nothing_is_missing(fleet: Fleet) -> None:
    """Wait until what is under way has arrived, then look for gaps and declared losses."""
    until_blocking(lambda: not fleet.heard.continuity().missing(), within_s=30, every_s=1)
    account = fleet.heard.continuity()
    assert account.received > 0
    assert account.declared_lost == 0


def columns_of(outbox: Path) -> list[str]:
    """The columns of the table of messages."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
        return [row[1] for row in database.execute("PRAGMA table_info(message)")]


def serial_of(fleet: Fleet, name: str) -> str:
    certificate = fleet.lab.host(name).root / "etc/nanofleet/node.pem"
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", str(certificate)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def policy_file(fleet: Fleet, *, version: int, rate_hz: int) -> Path:
    """The lab's policy under another version and rate, as a file of variables."""
    told = yaml.safe_load((fleet.lab.place.inventory / "group_vars/all.yml").read_text())
    document: dict[str, Any] = told["nanofleet_policy"]
    document["version"] = version
    document["policy"]["sources"]["line"]["rate_hz"] = rate_hz
    file = fleet.folder / f"policy-{version}.yml"
    file.write_text(yaml.safe_dump({"nanofleet_policy": document}))
    return file


def changes_in(output: str) -> str:
    """The tasks that changed something, of what a playbook printed."""
    tasks = re.split(r"(?m)^(?=TASK |RUNNING HANDLER )", output)
    return "\n".join(task[:600] for task in tasks if re.search(r"(?m)^changed:", task))
