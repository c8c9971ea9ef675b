"""The story of a fleet, from bare machines to the end of a node; each chapter goes on from the one before."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet_lab.conftest import BLIND, FIRST, GOOD, GROWN
from tests.fleet_lab.fleet import ANSIBLE, Fleet
from tests.fleet_lab.recorder import Recorder
from tests.polling import until_blocking
from tests.programs import find_program
from tools.fleet_lab.inventory import WATCHWORD

pytestmark = [pytest.mark.fleet, pytest.mark.broker, pytest.mark.timeout(600)]

NODES = ("nano-1", "nano-2", "nano-3")
QUICK_SOAK = (
    "-e",
    '{"nanofleet_soak_s": 5, "nanofleet_waves": ["100%"]}',
    "-e",
    "nanofleet_accept_unaudited=true",
)
UNAUDITED = ("-e", "nanofleet_accept_unaudited=true")


def test_first_run_takes_bare_machines_to_detections(fleet: Fleet, site: tuple[str, ...]) -> None:
    done = fleet.play("site.yml", *site, version=FIRST, label="site.yml on bare machines")
    assert done.status == 0, done.told
    fleet.recorder = Recorder(fleet.folder, broker=fleet.broker, pki=fleet.pki).__enter__()
    until_blocking(lambda: all(fleet.heard.count(name) > 3 for name in NODES), within_s=30)
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, FIRST)


def test_second_run_changes_nothing(fleet: Fleet, site: tuple[str, ...]) -> None:
    done = fleet.play("site.yml", *site, version=FIRST, label="site.yml again")
    assert done.status == 0, done.told
    assert not any(done.changed.values()), _changes(done.output)


@pytest.mark.slow
def test_check_mode_foresees_no_change(fleet: Fleet, site: tuple[str, ...]) -> None:
    done = fleet.play("site.yml", "--check", "--diff", *site, version=FIRST, label="site.yml --check --diff")
    assert done.status == 0, done.told
    assert not any(done.changed.values()), _changes(done.output)


def test_the_unit_is_hardened_and_the_key_is_nobody_elses(fleet: Fleet) -> None:
    node = fleet.lab.host("nano-1")
    rating = node.run("sudo", "systemd-analyze", "security", "nanofleet.service", "--no-pager").stdout
    level = re.search(r"exposure level for nanofleet.service: ([0-9.]+)", rating)
    assert level, rating[-300:]
    assert float(level[1]) <= 2.0, rating[-300:]
    kept = node.run("sudo", "stat", "-c", "%a %U %G", "/etc/nanofleet/secrets/node.key").stdout.split()
    assert kept == ["600", "root", "root"]
    assert (
        "PRIVATE"
        not in node.run(
            "sudo", "-u", "nanofleet", "cat", "/etc/nanofleet/secrets/node.key", check=False
        ).stdout
    )
    assert not list(fleet.pki.rglob("nano-*.key")), "a node's key left the node"


def test_an_agent_that_is_older_than_what_it_runs_by_is_found(fleet: Fleet) -> None:
    """As a run leaves it that ended between a change and its restart."""
    node = fleet.lab.host("nano-2")
    script = (ANSIBLE / "roles/agent/files/older.py").read_text()
    assert node.run("sudo", "python3", "-c", script).stdout == ""
    node.run("sudo", "touch", "-d", "+5 seconds", "/etc/nanofleet/agent.toml")
    assert node.run("sudo", "python3", "-c", script).stdout == "/etc/nanofleet/agent.toml\n"
    node.run("sudo", "touch", "-d", "-1 hour", "/etc/nanofleet/agent.toml")


def test_a_good_version_goes_to_all(fleet: Fleet) -> None:
    done = fleet.play("rollout.yml", *QUICK_SOAK, version=GOOD, label="rollout.yml of a good version")
    assert done.status == 0, done.told
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)


def test_a_version_that_fails_its_gate_is_put_back_and_goes_no_further(fleet: Fleet) -> None:
    before = fleet.reported(*NODES)
    done = fleet.play(
        "rollout.yml",
        *QUICK_SOAK,
        "-e",
        "nanofleet_gate_wait_s=20",
        version=BLIND,
        label="rollout.yml of a version that sees nothing",
    )
    assert done.status != 0, "a rollout that failed has to say so"
    assert done.failed["nano-1"] == 1, done.told
    after = fleet.reported(*NODES)
    assert {name: told["info"]["agent"] for name, told in after.items()} == dict.fromkeys(NODES, GOOD)
    for name in ("nano-2", "nano-3"):
        assert after[name]["state"]["session"] == before[name]["state"]["session"], f"{name} was touched"
    heard = fleet.heard.count("nano-1")
    until_blocking(lambda: fleet.heard.count("nano-1") > heard + 2, within_s=20)


def test_a_node_without_power_is_skipped_and_caught_up_with(fleet: Fleet) -> None:
    lost = fleet.lab.host("nano-3")
    began = time.monotonic()
    rollout = fleet.start("rollout.yml", *QUICK_SOAK, version=GROWN)
    # The canary is under way: the wave has not begun.
    until_blocking(
        lambda: (
            fleet.lab.host("nano-1").run("ls", f"/opt/nanofleet/releases/{GROWN}", check=False).returncode
            == 0
        ),
        within_s=60,
        every_s=0.5,
    )
    lost.pull_the_plug()
    try:
        done = fleet.end(rollout, began, label="rollout.yml, a node without power")
    finally:
        lost.start()
    assert done.status in {0, 4}, done.told
    assert fleet.versions("nano-1", "nano-2") == dict.fromkeys(("nano-1", "nano-2"), GROWN)
    assert (fleet.lab.place.inventory / "retry.txt").read_text().split() == ["nano-3"]


def test_a_node_off_the_network_during_its_update_is_resumed(fleet: Fleet) -> None:
    late = fleet.lab.host("nano-3")
    began = time.monotonic()
    rollout = fleet.start(
        "rollout.yml", *QUICK_SOAK, "--limit", f"@{fleet.lab.place.inventory}/retry.txt", version=GROWN
    )
    until_blocking(
        lambda: late.run("ls", f"/opt/nanofleet/releases/{GROWN}", check=False).returncode == 0,
        within_s=60,
        every_s=0.3,
    )
    late.cut()
    time.sleep(12)
    late.mend()
    done = fleet.end(rollout, began, label="rollout.yml, a cable out for 12 s")
    assert done.status == 0, done.told
    assert fleet.versions("nano-3") == {"nano-3": GROWN}
    assert not (fleet.lab.place.inventory / "retry.txt").exists()


def test_rollback_over_an_outbox_that_grew_loses_nothing(fleet: Fleet) -> None:
    node = fleet.lab.host("nano-2")
    assert "growth" in _columns(node.root / "var/lib/nanofleet/outbox.sqlite3")
    done = fleet.play("rollback.yml", "-e", f"nanofleet_back_to={GOOD}", label="rollback.yml")
    assert done.status == 0, done.told
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)
    assert "growth" in _columns(node.root / "var/lib/nanofleet/outbox.sqlite3")
    _nothing_is_missing(fleet)


def test_certificates_are_rotated_and_nothing_is_lost(fleet: Fleet) -> None:
    before = {name: _serial(fleet, name) for name in NODES}
    done = fleet.play("rotate-certs.yml", "-e", "nanofleet_pki_renew=force", label="rotate-certs.yml")
    assert done.status == 0, done.told
    assert all(_serial(fleet, name) != before[name] for name in NODES)
    heard = {name: fleet.heard.count(name) for name in NODES}
    until_blocking(lambda: all(fleet.heard.count(name) > heard[name] + 2 for name in NODES), within_s=60)
    _nothing_is_missing(fleet)


@pytest.mark.slow
def test_rotation_again_changes_nothing(fleet: Fleet) -> None:
    again = fleet.play("rotate-certs.yml", label="rotate-certs.yml again")
    assert again.status == 0, again.told
    assert not any(again.changed.values()), _changes(again.output)


def test_a_policy_by_ansible_and_drift_that_it_finds(fleet: Fleet) -> None:
    policy = _policy(fleet, version=10, rate_hz=3)
    done = fleet.play("policy.yml", "-e", f"@{policy}", label="policy.yml")
    assert done.status == 0, done.told
    assert {
        name: told["config"]["version"] for name, told in fleet.reported(*NODES).items()
    } == dict.fromkeys(NODES, 10)
    again = fleet.play("policy.yml", "-e", f"@{policy}", label="policy.yml again")
    assert again.status == 0, again.told
    assert not any(again.changed.values()), _changes(again.output)

    other = fleet.folder / "other.yaml"
    other.write_text(
        yaml.safe_dump(yaml.safe_load(_policy(fleet, version=11, rate_hz=1).read_text())["nanofleet_policy"])
    )
    fleet.ask("set-policy", f"lab/nano-2={other}")
    drift = fleet.play(
        "policy.yml", "--check", "--diff", "-e", f"@{policy}", label="policy.yml --check --diff"
    )
    assert drift.status == 0, drift.told
    assert re.search(r"(?m)^-.*rate_hz: 1(\.0)?$", drift.output), drift.told
    assert re.search(r"(?m)^\+.*rate_hz: 3(\.0)?$", drift.output), drift.told
    assert "nano-2: config/reported" in drift.output
    assert "nano-1: config/reported" not in drift.output


def test_a_node_may_not_write_anothers_topics(fleet: Fleet) -> None:
    node = _identity(fleet.lab.host("nano-1").root / "etc/nanofleet")
    forged = ("-q", "1", "-t", "edge/v1/lab/nano-2/events/forged", "-m", '{"v":1,"forged":true}')
    published = _speak(fleet, "mosquitto_pub", "-d", *node, *forged)
    assert "RC:135" in published.stdout + published.stderr, published  # not authorized
    assert not fleet.heard.messages("nano-2", "events/forged")


def test_diagnostics_are_collected_without_a_secret(fleet: Fleet) -> None:
    done = fleet.play("collect.yml", "--limit", "nano-1", label="collect.yml")
    assert done.status == 0, done.told
    with tarfile.open(fleet.lab.place.inventory / "collected/nano-1.tar.gz") as archive:
        texts = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    assert {"journal.txt", "outbox.json", "agent.toml"} <= {Path(name).name for name in texts}
    assert not any(b"PRIVATE KEY" in text or WATCHWORD.encode() in text for text in texts.values())


def test_a_node_is_decommissioned_for_good(fleet: Fleet) -> None:
    etc = fleet.lab.host("nano-3").root / "etc/nanofleet"
    stolen = fleet.folder / "stolen"
    stolen.mkdir(exist_ok=True)
    for name in ("ca.pem", "node.pem", "secrets/node.key"):
        (stolen / Path(name).name).write_bytes((etc / name).read_bytes())
    lasting = ("-t", "edge/v1/lab/nano-3/state", "-C", "1", "-W", "5")
    assert _speak(fleet, "mosquitto_sub", *_identity(stolen, key="node.key"), *lasting).returncode == 0
    done = fleet.play("decommission.yml", "-e", "nanofleet_decommission=nano-3", label="decommission.yml")
    assert done.status == 0, done.told
    node = fleet.lab.host("nano-3")
    for folder in ("/opt/nanofleet", "/etc/nanofleet", "/var/lib/nanofleet"):
        assert node.run("sudo", "test", "-e", folder, check=False).returncode == 1, folder
    assert not fleet.ask("get", "lab/*")["nodes"].get("lab/nano-3")
    tried = _speak(fleet, "mosquitto_sub", *_identity(stolen, key="node.key"), *lasting)
    # 27: let in, and heard nothing.
    assert tried.returncode not in {0, 27}, "a certificate that was revoked still connects"


def test_nothing_is_missing_in_the_end(fleet: Fleet) -> None:
    _nothing_is_missing(fleet)


def _identity(folder: Path, *, key: str = "secrets/node.key") -> list[str]:
    """Whose certificate lies in `folder`, as mosquitto's clients want to hear it."""
    files = {"--cafile": "ca.pem", "--cert": "node.pem", "--key": key}
    return [word for option, name in files.items() for word in (option, str(folder / name))]


def _speak(fleet: Fleet, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
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


def _nothing_is_missing(fleet: Fleet) -> None:
    """Wait until what is under way has arrived, then look for gaps and declared losses."""
    until_blocking(lambda: not fleet.heard.continuity().missing(), within_s=30, every_s=1)
    account = fleet.heard.continuity()
    assert account.received > 0
    assert account.declared_lost == 0


def _columns(outbox: Path) -> list[str]:
    """The columns of the table of messages."""
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
        return [row[1] for row in database.execute("PRAGMA table_info(message)")]


def _serial(fleet: Fleet, name: str) -> str:
    certificate = fleet.lab.host(name).root / "etc/nanofleet/node.pem"
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", str(certificate)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def _policy(fleet: Fleet, *, version: int, rate_hz: int) -> Path:
    """The lab's policy under another version and rate, as a file of variables."""
    told = yaml.safe_load((fleet.lab.place.inventory / "group_vars/all.yml").read_text())
    document: dict[str, Any] = told["nanofleet_policy"]
    document["version"] = version
    document["policy"]["sources"]["line"]["rate_hz"] = rate_hz
    file = fleet.folder / f"policy-{version}.yml"
    file.write_text(yaml.safe_dump({"nanofleet_policy": document}))
    return file


def _changes(output: str) -> str:
    """The tasks that changed something, of what a playbook printed."""
    tasks = re.split(r"(?m)^(?=TASK |RUNNING HANDLER )", output)
    return "\n".join(task[:600] for task in tasks if re.search(r"(?m)^changed:", task))
