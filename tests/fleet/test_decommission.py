"""decommission.yml against a real mosquitto: a session that runs is ended, and no key is left."""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.brokers import HOST, Authority, Identity
from tests.fleet.role_broker import RoleBroker, connected, is_let_in, names
from tests.fleet.role_pki import (
    ANSIBLE,
    OWN,
    PASSPHRASE,
    PLAYER,
    REPOSITORY,
    as_root,
    play,
    request,
    role,
    signing,
    stand_in,
    surroundings,
    written,
)
from tests.polling import until_blocking

pytestmark = [pytest.mark.ansible, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

NODE: Final = "edge/v1/plant/nano-1"
_TIMEOUT_S: Final = 300


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
        play(folder, [role("authority.yml"), signing(request(folder, **OWN))], options=())
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

    def run(self, *book: str) -> str:
        """What a playbook printed over the broker, and over the node, which is nowhere."""
        away = {"ansible_host": HOST, "ansible_port": 1, "nanofleet_site": "plant"}
        groups = {
            "broker": {"hosts": {"broker-1": {"ansible_connection": "local"}}},
            "nodes": {"hosts": {"nano-1": away}},
        }
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump(groups))
        systemctl = (
            f'case "$*" in *show*) echo LoadState=loaded; echo ActiveState=active;; '
            f"*reload*mosquitto*) kill -HUP {self.broker.pid};; esac"
        )
        command = [*as_root(), str(PLAYER), "-i", str(inventory), "-e", json.dumps(self.variables), *book]
        done = subprocess.run(
            command,
            env=surroundings(PATH=stand_in(self.folder, "systemctl", systemctl)),
            cwd=ANSIBLE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-5000:]
        return said


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with site.broker:
        yield site


def without_the_take_over(folder: Path) -> str:
    """decommission.yml with what tells the broker, and nothing that ends a session."""
    plays = yaml.safe_load((ANSIBLE / "decommission.yml").read_text())
    lock_out = next(one for one in plays if one["name"] == "Lock the nodes out")
    last = [task["name"] for task in lock_out["tasks"]].index("Have the broker read it")
    lock_out["tasks"] = lock_out["tasks"][: last + 1]
    book = folder / "told.yml"
    book.write_text(yaml.safe_dump([plays[0], lock_out]))
    return str(book)


def test_a_session_with_the_revoked_certificate_outlives_both_lists_and_ends_with_decommission(
    site: Site, tmp_path: Path
) -> None:
    gone = ("-e", "nanofleet_decommission=nano-1")
    with connected(site.stolen, site.broker.port) as live:
        assert live.publish(f"{NODE}/state", retain=True) < 0x80
        site.run(without_the_take_over(tmp_path), *gone)
        assert not is_let_in(site.stolen, site.broker.port)
        # It may say nothing any more, and is still there: it would hear whatever it may hear.
        assert live.publish(f"{NODE}/state") == 0x87
        assert not live.has_ended.is_set()
        said = site.run("decommission.yml", *gone)
        assert live.has_ended.wait(10)
        assert "nano-1 does not answer and was not wiped" in said
    assert not is_let_in(site.stolen, site.broker.port)


def test_a_killed_take_over_leaves_no_key_anywhere(site: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    places = {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "ANSIBLE_LOCAL_TEMP": str(home / "local"),
        "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
    }
    take_over = (ANSIBLE / "roles/pki/tasks/take_over.yml").read_text()
    tasks = yaml.safe_load(take_over.replace("stay_s: 5", "stay_s: 120"))
    assert "stay_s: 120" in yaml.safe_dump(tasks)
    book = written(tmp_path, tasks, **self_named(site))
    came = site.broker.log.count(" as nano-1 ")
    with subprocess.Popen(
        [str(PLAYER), "-i", "localhost,", str(book)],
        env=surroundings(**places),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        try:
            until_blocking(lambda: site.broker.log.count(" as nano-1 ") > came, within_s=120)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
    left = [file for file in home.rglob("*") if file.is_file()]
    assert [file for file in left if b"PRIVATE KEY" in file.read_bytes()] == []


def test_a_process_that_is_killed_while_it_has_a_key_in_a_file_leaves_no_file(tmp_path: Path) -> None:
    script = (
        "import os, nanofleet_mqtt_session as session\n"
        "with session._file('a key') as path:\n"
        "    print(open(path).read(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [str(PLAYER.with_name("python")), "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ANSIBLE / "library")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "a key\n")
    assert list(tmp_path.iterdir()) == []


def self_named(site: Site) -> dict[str, Any]:
    """Variables of a take-over of nano-1, without the rest of the playbook."""
    own = {"__nanofleet_pki_taken": "nano-1", "nanofleet_pki_backdate": "1h"}
    return {**site.variables, **own}


def test_the_units_that_are_wiped_are_those_of_a_node() -> None:
    plays = yaml.safe_load((ANSIBLE / "decommission.yml").read_text())
    tasks = {task["name"]: task for one in plays for task in one.get("tasks", [])}
    patterns = tasks["Find its units"]["ansible.builtin.find"]["patterns"]
    units = {
        template.name.removesuffix(".j2")
        for template in ANSIBLE.glob("roles/*/templates/*")
        if template.name.removesuffix(".j2").endswith((".service", ".socket", ".timer"))
    }
    wiped = {unit for unit in units if any(fnmatch.fnmatch(unit, pattern) for pattern in patterns)}
    others = {"nanofleet-broker-expiry", "nanofleet-rotate-certs"}
    assert units - wiped == {f"{name}.{kind}" for name in others for kind in ("service", "timer")}
    assert wiped == {"nanofleet.service", "nanofleet-metrics.service", "nanofleet-metrics.socket"}
