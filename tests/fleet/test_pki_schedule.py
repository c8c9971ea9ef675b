"""The renewal of certificates as a timer of the controller: how systemd reads it, and when it is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fleet.player import PLAYER
from tests.fleet.role_pki import PASSPHRASE, play, role

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(300)]

UNITS: Final = ("nanofleet-rotate-certs.service", "nanofleet-rotate-certs.timer")
ODD: Final = ["--extra-vars", "note='50 % of %h, $HOME, ${HOME} \\ \"x\"'", "--extra-vars", "other=;"]


class Controller:
    """An inventory whose passphrase is in a vault, and a folder for units."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "50 % of a $fleet"
        self.inventory = self.folder / "inventory"
        self.units = self.folder / "units"
        self.password = self.folder / "vault password"
        variables = self.inventory / "group_vars/all"
        variables.mkdir(parents=True)
        (self.inventory / "hosts.yml").write_text(
            "broker: {hosts: {broker-1: {ansible_connection: local}}}\n"
        )
        vault = variables / "vault.yml"
        vault.write_text(yaml.safe_dump({"nanofleet_pki_ca_passphrase": PASSPHRASE}))
        self.password.write_text("of the vault\n")
        self.password.chmod(0o600)
        command = [str(PLAYER.with_name("ansible-vault")), "encrypt", "--vault-password-file"]
        subprocess.run(
            [*command, str(self.password), str(vault)], capture_output=True, timeout=60, check=True
        )

    def schedule(self, *arguments: str, fails: bool = False, **variables: Any) -> str:
        """Have it scheduled. This run can open the vault, whatever the arguments of the timer."""
        return play(
            self.folder,
            [role("scheduled.yml")],
            options=("--vault-password-file", str(self.password)),
            inventory=str(self.inventory),
            environment={"ANSIBLE_VAULT_PASSWORD_FILE": str(self.password)},
            fails=fails,
            nanofleet_pki_schedule_arguments=list(arguments),
            nanofleet_pki_schedule_folder=str(self.units),
            **{"nanofleet_pki_schedule": True, "nanofleet_pki_schedule_start": False, **variables},
        )


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def loaded(folder: Path, unit: str) -> str:
    """What systemd says of a unit that it has read from a file; it must have nothing to complain of."""
    command = ["systemd-analyze", "verify", str(folder / unit)]
    said = []
    for level in ("info", "debug"):
        done = subprocess.run(
            command,
            env={**os.environ, "SYSTEMD_LOG_LEVEL": level},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said.append(done.stdout + done.stderr)
    assert unit not in said[0]
    return said[1]


def test_systemd_calls_what_was_asked_for_letter_by_letter(controller: Controller) -> None:
    opening = ["--vault-password-file", str(controller.password)]
    controller.schedule(*opening, *ODD)
    assert sorted(file.name for file in controller.units.iterdir()) == sorted(UNITS)
    loaded(controller.units, UNITS[1])
    said = loaded(controller.units, UNITS[0])
    line = next(line for line in said.splitlines() if "Command Line: " in line)
    shell = ["bash", "-c", f"printf '%s\\0' {line.partition('Command Line: ')[2]}"]
    called = subprocess.run(shell, capture_output=True, text=True, timeout=20, check=True).stdout.split("\0")[
        :-1
    ]
    # What systemd does when it starts a command: $$ is a $, and anything else behind a $ a variable.
    assert not any("$" in word.replace("$$", "") for word in called)
    called = [word.replace("$$", "$") for word in called]
    inventory = ["-i", str(controller.inventory)]
    assert called == ["/usr/bin/env", str(PLAYER), *inventory, *opening, *ODD, "rotate-certs.yml"]
    assert f"WorkingDirectory: {controller.folder}" in said


@pytest.mark.parametrize("arguments", [[], ["--ask-vault-pass"], ["--vault-password-file", "/nowhere"]])
def test_a_renewal_that_cannot_open_the_vault_is_not_scheduled(
    controller: Controller, arguments: list[str]
) -> None:
    said = controller.schedule(*arguments, fails=True)
    assert "nanofleet_pki_schedule_arguments: [--vault-password-file, FILE]" in said
    assert not controller.units.exists()


def test_who_has_no_schedule_is_told_so_until_he_has_one(controller: Controller) -> None:
    said = controller.schedule(nanofleet_pki_schedule=False)
    assert "the renewal of certificates is not scheduled on this controller" in said
    controller.units.mkdir()
    (controller.units / UNITS[1]).touch()
    assert "is not scheduled" not in controller.schedule(nanofleet_pki_schedule=False)
