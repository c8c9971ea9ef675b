"""A real broker by the roles `pki` and `broker`, and the playbooks over it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.brokers import HOST, Authority, Identity
from tests.fleet.player import ANSIBLE, REPOSITORY, heard, run_playbook
from tests.fleet.role_broker import RoleBroker, names
from tests.fleet.role_pki import PASSPHRASE, as_root, stand_in


class RoleAuthority(Authority):
    """The one that the role made in `pki`; what it issues here is for the broker and this test."""

    def __init__(self, folder: Path, pki: Path) -> None:
        super().__init__(folder)
        key = load_pem_private_key((pki / "ca.key").read_bytes(), PASSPHRASE.encode())
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._authority = trustme.CA.from_pem((pki / "ca.pem").read_bytes(), plain)
        self.ca = pki / "ca.pem"


class Site:
    """A broker of this machine in a folder, whose certificates the role pki signed, and one node, stolen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pki = folder / "pki"
        self.restart = folder / "restart"
        self.told = folder / "systemctl.log"
        self.broker = RoleBroker(
            folder / "broker",
            authority=RoleAuthority(folder / "own", self.pki),
            nanofleet_broker_clients=[{"name": "controller", "access": "operate"}],
            __nanofleet_broker_admitted=names("nano-1"),
            __nanofleet_broker_gone=[],
        )
        certificate = self.pki / "issued/nano-1.pem"
        key = folder / "key.pem"
        self.stolen = Identity(name="nano-1", ca=self.pki / "ca.pem", certificate=certificate, key=key)
        self.while_it_reloads = ""
        self.variables: dict[str, Any] = {
            "ansible_become": False,
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "nanofleet_pki_dir": str(self.pki),
            "nanofleet_pki_ca_passphrase": PASSPHRASE,
            "nanofleet_pki_clients": ["controller"],
            "nanofleet_broker_host": HOST,
            "nanofleet_broker_port": self.broker.port,
            "nanofleet_broker_websocket_port": self.broker.websocket_port,
            "nanofleet_command": str(REPOSITORY / ".venv/bin/nanofleet"),
            "__nanofleet_broker_etc": str(self.broker.etc),
            "__nanofleet_broker_group": "root",
            "__nanofleet_cache": str(folder / "cache"),
        }

    def run(self, *book: str, fails: bool = False) -> str:
        """What a playbook printed over the broker, and over the node, which is nowhere; `fails`: it must."""
        away = {"ansible_host": HOST, "ansible_port": 1, "nanofleet_site": "plant"}
        groups = {
            "broker": {"hosts": {"broker-1": {"ansible_connection": "local"}}},
            "nodes": {"hosts": {"nano-1": away}},
        }
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump(groups))
        self.told.write_text("")
        systemctl = (
            f'echo "$*" >>{self.told}; case "$*" in *show*) echo LoadState=loaded; echo ActiveState=active;; '
            f"*reload*mosquitto*) {self.while_it_reloads}kill -HUP {self.broker.pid};; "
            f"*restart*mosquitto*) touch {self.restart}; "
            f"while [ -e {self.restart} ]; do sleep 0.1; done;; esac"
        )
        words = ("-i", str(inventory), "-e", json.dumps(self.variables), *book)
        path = stand_in(self.folder, "systemctl", systemctl)
        return heard(run_playbook(*words, before=as_root(), environment={"PATH": path}), fails=fails)

    @property
    def reloads(self) -> int:
        """How often the last run had mosquitto read its lists."""
        return self.told.read_text().count("reload mosquitto")

    @contextmanager
    def restarting(self, *, really: bool = True) -> Iterator[None]:
        """Meanwhile the broker is restarted when systemctl is told to; or systemctl says that it was."""
        ended = threading.Event()

        def restart() -> None:
            while not ended.wait(0.1):
                if self.restart.exists():
                    if really:
                        self.broker.restart()
                    self.restart.unlink()

        thread = threading.Thread(target=restart, name="systemd")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(60)


def up_to(last: str, folder: Path, *more: dict[str, Any]) -> str:
    """decommission.yml as far as this task of its first part, and then these."""
    plays = yaml.safe_load((ANSIBLE / "decommission.yml").read_text())
    lock_out = next(one for one in plays if one["name"] == "Lock the nodes out")
    end = [task["name"] for task in lock_out["tasks"]].index(last)
    lock_out["tasks"] = [*lock_out["tasks"][: end + 1], *more]
    book = folder / "told.yml"
    book.write_text(yaml.safe_dump([plays[0], lock_out]))
    return str(book)


def book_of_the_broker(folder: Path, tasks_from: str) -> str:
    """A playbook that runs these tasks of the role broker."""
    include = {"name": "Run it", "ansible.builtin.include_role": {"name": "broker", "tasks_from": tasks_from}}
    book = folder / "broker.yml"
    book.write_text(yaml.safe_dump([{"hosts": "broker", "gather_facts": False, "tasks": [include]}]))
    return str(book)
