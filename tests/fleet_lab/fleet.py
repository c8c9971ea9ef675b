"""The lab with a fleet on it: playbooks run as an operator would, and what they printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from tests.fleet_lab.recorder import Recorder
from tests.fleet_lab.versions import REPOSITORY
from tools.fleet_lab.lab import Lab

ANSIBLE: Final = REPOSITORY / "deploy/ansible"
_TIMEOUT_S: Final = 600
_IMPATIENT: Final = (
    "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5 -o ServerAliveCountMax=4"
)
_RECAP: Final = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Play:
    """A playbook that ran: what it printed, and its recap by host."""

    status: int
    output: str
    seconds: float
    changed: dict[str, int]
    unreachable: dict[str, int]
    failed: dict[str, int]

    @property
    def told(self) -> str:
        """The end of its output, for an assertion that fails."""
        return self.output[-6000:]


@dataclass
class Fleet:
    """The hosts, the releases and the recorder; `timings` is what the summary prints."""

    lab: Lab
    folder: Path
    building: dict[str, Future[Path]] = field(default_factory=dict)
    """Releases by version: those that a later chapter wants are made meanwhile."""
    timings: list[tuple[str, float, int]] = field(default_factory=list)
    """What ran, how many seconds, and for how many nodes."""
    recorder: Recorder | None = None
    impatient: bool = False
    """Whether a link that is silent is given up after 20 seconds already."""

    @property
    def pki(self) -> Path:
        return self.lab.place.inventory / "pki"

    @property
    def heard(self) -> Recorder:
        """What arrived at the dashboard; from the first run of site.yml on."""
        assert self.recorder is not None
        return self.recorder

    def start(self, playbook: str, *options: str, version: str = "") -> subprocess.Popen[str]:
        """Start a playbook, with the release of `version` where one is named."""
        release = [f"-e nanofleet_release_dir={self.building[version].result()}"] if version else []
        return subprocess.Popen(
            [
                *(
                    str(REPOSITORY / ".venv-ansible/bin/ansible-playbook"),
                    "-i",
                    str(self.lab.place.inventory),
                ),
                *(playbook, *release, *options),
            ],
            cwd=ANSIBLE,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                **({"ANSIBLE_SSH_ARGS": _IMPATIENT, "ANSIBLE_SSH_RETRIES": "1"} if self.impatient else {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a playbook that was started, and all of its workers, as a loss of power would."""
        parent = psutil.Process(process.pid)
        for each in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate(timeout=_TIMEOUT_S)

    def play(self, playbook: str, *options: str, version: str = "", label: str = "") -> Play:
        """Run a playbook to its end."""
        began = time.monotonic()
        return self.end(self.start(playbook, *options, version=version), began, label=label or playbook)

    def end(self, process: subprocess.Popen[str], began: float, *, label: str) -> Play:
        """Wait for a playbook that was started."""
        output, _ = process.communicate(timeout=_TIMEOUT_S)
        seconds = time.monotonic() - began
        rows = _RECAP.findall(output)
        nodes = sum(host.startswith("nano-") for host, *_ in rows)
        self.timings.append((label, seconds, nodes))
        (self.folder / f"{len(self.timings):02}-{label.replace('/', '-').replace(' ', '-')}.log").write_text(
            output
        )
        return Play(
            status=process.returncode,
            output=output,
            seconds=seconds,
            changed={host: int(changed) for host, _, changed, _, _ in rows},
            unreachable={host: int(unreachable) for host, _, _, unreachable, _ in rows},
            failed={host: int(failed) for host, _, _, _, failed in rows},
        )

    def variables(self, name: str) -> dict[str, Any]:
        """What the inventory says of one node."""
        text = (self.lab.place.inventory / "hosts.yml").read_text()
        mine: dict[str, Any] = yaml.safe_load(text)["all"]["children"]["nodes"]["hosts"][name]
        return mine

    def ask(self, *arguments: str) -> dict[str, Any]:
        """What `nanofleet fleet …` says, as JSON."""
        settings = self.folder / "controller.toml"
        client = self.pki / "clients/controller"
        settings.write_text(
            f'[broker]\nhost = "{self.broker}"\nca_file = "{self.pki}/ca.pem"\n'
            f'cert_file = "{client}.pem"\nkey_file = "{client}.key"\n'
        )
        command = [
            str(REPOSITORY / ".venv/bin/nanofleet"),
            "fleet",
            arguments[0],
            "--settings",
            str(settings),
        ]
        done = subprocess.run(
            [*command, "--json", *arguments[1:]], capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode in {0, 1}, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def reported(self, *names: str) -> dict[str, dict[str, Any]]:
        """What nodes report, by name."""
        nodes = self.ask("get", *(f"lab/{name}" for name in names))["nodes"]
        return {name: nodes[f"lab/{name}"] for name in names}

    def retry_list(self) -> list[str]:
        """Whom the last rollout has missed, as it wrote that down."""
        file = self.lab.place.inventory / "retry.txt"
        return file.read_text().split() if file.exists() else []

    def versions(self, *names: str) -> dict[str, str]:
        """Which version of the agent each node reports."""
        return {name: told["info"]["agent"] for name, told in self.reported(*names).items()}

    @property
    def broker(self) -> str:
        """The broker's address."""
        return self.lab.host("broker-1").address
