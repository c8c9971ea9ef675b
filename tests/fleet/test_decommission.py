"""decommission.yml against a real mosquitto: a session that runs is ended, and no key is left."""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.brokers import HOST, Authority, Identity
from tests.fleet.player import ANSIBLE, PLAYER, heard, run_playbook, surroundings
from tests.fleet.role_broker import connected, is_let_in, revocation_list
from tests.fleet.role_pki import PASSPHRASE, written
from tests.fleet.role_site import Site, book_of_the_broker, up_to
from tests.polling import until_blocking

pytestmark = [pytest.mark.ansible, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

NODE: Final = "edge/v1/plant/nano-1"


def test_a_session_with_the_revoked_certificate_outlives_both_lists_and_ends_with_decommission(
    site: Site, tmp_path: Path
) -> None:
    gone = ("-e", "nanofleet_decommission=nano-1")
    with connected(site.stolen, site.broker.port) as live:
        assert live.publish(f"{NODE}/state", retain=True) < 0x80
        site.run(up_to("Have the broker read it", tmp_path), *gone)
        assert not is_let_in(site.stolen, site.broker.port)
        # It may say nothing any more, and is still there: it would hear whatever it may hear.
        assert live.publish(f"{NODE}/state") == 0x87
        assert not live.has_ended.is_set()
        said = site.run("decommission.yml", *gone)
        assert live.has_ended.wait(10)
        assert "nano-1 does not answer and was not wiped" in said
    assert not is_let_in(site.stolen, site.broker.port)


def test_a_list_of_a_foreign_key_reaches_no_broker(site: Site, tmp_path: Path) -> None:
    verify = Identity(
        name="verify",
        ca=site.pki / "ca.pem",
        certificate=site.pki / "clients/verify.pem",
        key=site.pki / "clients/verify.key",
    )
    held = {name: (site.broker.etc / name).read_bytes() for name in ("acl", "crl.pem")}
    foreign = Authority(tmp_path / "foreign")
    (site.pki / "crl.pem").write_bytes(revocation_list(foreign))
    said = site.run(book_of_the_broker(tmp_path, "access"), fails=True)
    assert f"the revocation list is not signed by the authority in {site.broker.etc}/ca.pem" in said
    assert {name: (site.broker.etc / name).read_bytes() for name in held} == held
    site.broker.reload()
    assert is_let_in(verify, site.broker.port)
    key = load_pem_private_key(foreign.key, None)
    sealed = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    )
    (site.pki / "ca.key").write_bytes(sealed)
    said = site.run("decommission.yml", "-e", "nanofleet_decommission=nano-1", fails=True)
    assert f"{site.pki}/ca.key is not the key of {site.pki}/ca.pem; nothing was changed" in said
    assert not (site.pki / "revoked.yml").exists()
    assert {name: (site.broker.etc / name).read_bytes() for name in held} == held


def test_every_run_over_a_broker_looks_which_certificate_it_serves() -> None:
    for file, included in (("lists", "verify"), ("main", "verify"), ("verify", "served")):
        tasks = yaml.safe_load((ANSIBLE / f"roles/broker/tasks/{file}.yml").read_text())
        assert f"{included}.yml" in {
            task.get(f"ansible.builtin.{how}_tasks") for task in tasks for how in ("include", "import")
        }


def test_a_broker_that_was_not_restarted_for_its_certificate_is_found_and_restarted(
    site: Site, tmp_path: Path
) -> None:
    ports = (site.broker.port, site.broker.websocket_port)
    before = site.broker.pid
    book = book_of_the_broker(tmp_path, "served")
    assert "changed=0" in site.run(book)
    site.broker.certify()
    # Of the WebSocket listener a reload is not enough.
    site.broker.reload()
    with site.restarting():
        said = site.run(book)
    assert "changed=1" in said
    assert site.broker.pid != before
    own = (site.broker.etc / "broker.pem").read_text()
    for port in ports:
        assert ssl.get_server_certificate((HOST, port)).strip() in own
    site.broker.certify()
    with site.restarting(really=False):
        said = site.run(book, fails=True)
    assert f"served, also after a restart, at port {ports[0]} and {ports[1]}" in " ".join(said.split())


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("nano-99", "in no inventory: nano-99. Nothing was done. There are nano-1, controller."),
        ("nano-1,nano-99,nano-98", "in no inventory: nano-99, nano-98. Nothing was done."),
        ("", "name the nodes with -e nanofleet_decommission=nano-3,nano-4"),
        ("controller", "The controller itself is needed for it"),
    ],
)
def test_who_names_nobody_that_there_is_is_told_whom_there_is(tmp_path: Path, named: str, told: str) -> None:
    said = over(tmp_path, ["nano-1"], named)
    assert told in said
    assert "Revoke their certificates" not in said


def test_of_many_nodes_some_are_named(tmp_path: Path) -> None:
    said = over(tmp_path, [f"nano-{number:02}" for number in range(30)], "nano-99")
    assert "nano-18, nano-19 and 11 more." in said
    assert (
        "nano-20" not in said.split("in no inventory", 1)[1].split("Nothing was done")[1].split("If the")[0]
    )


def over(folder: Path, nodes: list[str], named: str) -> str:
    """What decommission.yml said, which must fail, with an inventory of these nodes."""
    hosts = {name: {"nanofleet_site": "plant"} for name in nodes}
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"broker": {"hosts": {"broker-1": {}}}, "nodes": {"hosts": hosts}}))
    told = {"nanofleet_pki_clients": ["controller"], "nanofleet_decommission": named}
    said = heard(run_playbook("-i", str(inventory), "decommission.yml", "-e", json.dumps(told)), fails=True)
    return " ".join(said.split())


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
