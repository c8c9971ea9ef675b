"""The story of a fleet, from bare machines to the end of a node; each chapter goes on from the one before."""

from __future__ import annotations

import json
import re
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from tests.fleet_lab.conftest import BLIND, FIRST, GOOD, GROWN, PICKY
from tests.fleet_lab.fleet import ANSIBLE, Fleet
from tests.fleet_lab.looking import (
    changes_in,
    columns_of,
    identity_files,
    nothing_is_missing,
    policy_file,
    serial_of,
    speak,
)
from tests.fleet_lab.recorder import Recorder
from tests.fleet_lab.remains import half_a_release, half_an_interpreter
from tests.fleet_lab.versions import blind, make_release
from tests.polling import until_blocking
from tools.fleet_lab.inventory import WATCHWORD

pytestmark = [pytest.mark.fleet, pytest.mark.broker, pytest.mark.timeout(600)]

NODES = ("nano-1", "nano-2", "nano-3")
QUICK_SOAK = (
    "-e",
    '{"nanofleet_soak_s": 2, "nanofleet_waves": ["100%"]}',
    "-e",
    "nanofleet_accept_unaudited=true",
)
UNAUDITED = ("-e", "nanofleet_accept_unaudited=true")


def test_first_run_takes_bare_machines_to_detections(fleet: Fleet, site: tuple[str, ...]) -> None:
    half_an_interpreter(fleet.lab.host("nano-3"), fleet.variables("nano-3")["nanofleet_python_sha256"])
    done = fleet.play("site.yml", *site, version=FIRST, label="site.yml on bare machines")
    assert done.status == 0, done.told
    fleet.recorder = Recorder(fleet.folder, broker=fleet.broker, pki=fleet.pki).__enter__()
    until_blocking(lambda: all(fleet.heard.count(name) > 3 for name in NODES), within_s=30)
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, FIRST)
    accepted = fleet.lab.host("nano-1").run("cat", "/opt/nanofleet/accepted.json").stdout
    assert json.loads(accepted) == {"release": FIRST, "before": "", "sources": ["line", "machine"]}


def test_second_run_changes_nothing(fleet: Fleet, site: tuple[str, ...]) -> None:
    done = fleet.play("site.yml", *site, version=FIRST, label="site.yml again")
    assert done.status == 0, done.told
    assert not any(done.changed.values()), changes_in(done.output)


@pytest.mark.slow
def test_check_mode_foresees_no_change(fleet: Fleet, site: tuple[str, ...]) -> None:
    done = fleet.play("site.yml", "--check", "--diff", *site, version=FIRST, label="site.yml --check --diff")
    assert done.status == 0, done.told
    assert not any(done.changed.values()), changes_in(done.output)


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
    """As a run leaves it that ended between a change and its restart; the next chapter restarts it."""
    node = fleet.lab.host("nano-2")
    script = (ANSIBLE / "roles/agent/files/older.py").read_text()
    assert node.run("sudo", "python3", "-c", script).stdout == ""
    for file in ("agent.toml", "policy.yaml"):
        node.run("sudo", "touch", "-d", "-1 hour", f"/etc/nanofleet/{file}")
    told = node.run("sudo", "python3", "-c", script).stdout
    assert told.split() == [f"/opt/nanofleet/current/etc/{file}" for file in ("agent.toml", "policy.yaml")]


def test_a_good_version_goes_to_all(fleet: Fleet) -> None:
    half_a_release(fleet.lab.host("nano-2"), GOOD)
    done = fleet.play("rollout.yml", *QUICK_SOAK, version=GOOD, label="rollout.yml of a good version")
    assert done.status == 0, done.told
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)
    script = (ANSIBLE / "roles/agent/files/older.py").read_text()
    assert fleet.lab.host("nano-2").run("sudo", "python3", "-c", script).stdout == ""


@pytest.mark.slow
def test_another_content_under_the_same_version_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    other = make_release(GOOD, out=tmp_path / "release", sources=tmp_path / "sources", patch=blind)
    before = fleet.reported(*NODES)
    done = fleet.play(
        *("rollout.yml", *QUICK_SOAK, "-e", f"nanofleet_release_dir={other}"),
        label="rollout.yml of another content under the same version",
    )
    assert done.status != 0, done.told
    assert f"has {GOOD} already, made of" in done.output, done.told
    assert {name: told["state"]["session"] for name, told in fleet.reported(*NODES).items()} == {
        name: told["state"]["session"] for name, told in before.items()
    }


def test_a_version_that_fails_its_gate_is_put_back_and_goes_no_further(fleet: Fleet) -> None:
    before = fleet.reported(*NODES)
    done = fleet.play(
        "rollout.yml",
        *QUICK_SOAK,
        "-e",
        "nanofleet_gate_wait_s=12",
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


@pytest.mark.slow
def test_settings_by_which_nothing_is_seen_are_put_back_under_the_same_version(fleet: Fleet) -> None:
    nowhere = '{"nanofleet_settings": {"media_root": "/var/lib/nanofleet/nowhere"}}'
    done = fleet.play(
        *("rollout.yml", *QUICK_SOAK, "-e", "nanofleet_gate_wait_s=12", "-e", nowhere),
        version=GOOD,
        label="rollout.yml of settings by which nothing is seen",
    )
    assert done.status != 0, done.told
    assert f"It is on {GOOD}, and reports well" in done.output, done.told
    assert "nano-1: Unable to restart service" in done.output
    assert "The agent said: " in done.output
    assert "media_root" in done.output.partition("The agent said: ")[2].partition("It is on")[0]
    assert not _has(fleet, "nano-1", "nowhere")
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)


@pytest.mark.slow
def test_settings_that_site_brought_to_the_first_are_taken_back(fleet: Fleet, site: tuple[str, ...]) -> None:
    settings = {"nanofleet_settings": {"media_root": "/var/lib/nanofleet/nowhere"}, "nanofleet_waves": [1, 2]}
    done = fleet.play(
        *("site.yml", *site, "-e", json.dumps(settings)),
        version=GOOD,
        label="site.yml of settings by which nothing is seen",
    )
    assert done.status != 0, done.told
    assert [name for name in NODES if _has(fleet, name, "nowhere")] == ["nano-1"]
    back = fleet.play("rollback.yml", "-e", f"nanofleet_back_to={GOOD}", label="rollback.yml of settings")
    assert back.status == 0, back.told
    assert [host for host, changes in back.changed.items() if changes] == ["nano-1"], changes_in(back.output)
    assert not _has(fleet, "nano-1", "nowhere")
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)


def _has(fleet: Fleet, name: str, word: str) -> bool:
    """Whether the settings of a node have this word."""
    return word in fleet.lab.host(name).run("sudo", "cat", "/etc/nanofleet/agent.toml").stdout


@pytest.mark.slow
def test_of_two_canaries_one_fails_and_the_other_stays(fleet: Fleet) -> None:
    two = fleet.folder / "two-canaries.yml"
    two.write_text(yaml.safe_dump({"canary": {"hosts": {"nano-2": {}}}}))
    label = "rollout.yml of a version that one of two canaries fails"
    _fails_on_nano_2(fleet, "-i", str(two), label=label)


@pytest.mark.slow
def test_a_failure_in_a_wave_goes_no_further_and_leaves_the_canary(fleet: Fleet) -> None:
    _fails_on_nano_2(fleet, label="rollout.yml of a version that fails in its first wave")


def _fails_on_nano_2(fleet: Fleet, *options: str, label: str) -> None:
    before = fleet.reported(*NODES)
    waves = '{"nanofleet_soak_s": 5, "nanofleet_waves": [1, 1], "nanofleet_gate_wait_s": 20}'
    done = fleet.play("rollout.yml", *UNAUDITED, "-e", waves, *options, version=PICKY, label=label)
    assert done.status != 0, "a rollout that failed has to say so"
    assert [name for name in NODES if done.failed.get(name)] == ["nano-2"], done.told
    assert fleet.versions(*NODES) == {"nano-1": PICKY, "nano-2": GOOD, "nano-3": GOOD}
    assert fleet.reported("nano-3")["nano-3"]["state"]["session"] == before["nano-3"]["state"]["session"]
    assert {"nano-2", "nano-3"} <= set(fleet.retry_list())
    back = fleet.play("rollback.yml", "--limit", "nano-1", label="rollback.yml of the canary alone")
    assert back.status == 0, back.told
    assert fleet.versions("nano-1") == {"nano-1": GOOD}


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
    assert fleet.retry_list() == ["nano-3"]


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
    assert not fleet.retry_list()


@pytest.mark.slow
def test_rollback_over_an_outbox_that_grew_loses_nothing(fleet: Fleet) -> None:
    node = fleet.lab.host("nano-2")
    assert "growth" in columns_of(node.root / "var/lib/nanofleet/outbox.sqlite3")
    done = fleet.play("rollback.yml", "-e", f"nanofleet_back_to={GOOD}", label="rollback.yml")
    assert done.status == 0, done.told
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)
    assert "growth" in columns_of(node.root / "var/lib/nanofleet/outbox.sqlite3")
    nothing_is_missing(fleet)


@pytest.mark.slow
def test_what_a_killed_controller_left_behind_is_put_back(fleet: Fleet) -> None:
    """It ended between the flip of the link and the gate: what runs then was never found good."""
    canary = fleet.lab.host("nano-1")
    rollout = fleet.start("rollout.yml", *QUICK_SOAK, version=BLIND)
    until_blocking(
        lambda: canary.run("readlink", "/opt/nanofleet/current").stdout.strip().endswith(BLIND),
        within_s=120,
        every_s=0.2,
    )
    fleet.kill(rollout)
    assert set(fleet.retry_list()) == set(NODES)
    done = fleet.play(
        "rollout.yml",
        *(*QUICK_SOAK, "-e", "nanofleet_gate_wait_s=20"),
        version=BLIND,
        label="rollout.yml of the same, after it was killed",
    )
    assert done.status != 0, done.told
    assert f"It is on {GOOD}, and reports well" in done.output, done.told
    assert fleet.versions(*NODES) == dict.fromkeys(NODES, GOOD)
    nothing_is_missing(fleet)


@pytest.mark.slow
def test_a_node_that_stays_away_in_its_update_holds_up_nobody(fleet: Fleet) -> None:
    """Longer than ssh waits; the broker hears nothing of it either."""
    lost = fleet.lab.host("nano-3")
    was = lost.run("readlink", "/opt/nanofleet/current").stdout
    began = time.monotonic()
    rollout = fleet.start("rollout.yml", *QUICK_SOAK, version=GROWN)
    until_blocking(
        lambda: fleet.lab.host("nano-2").run("readlink", "/opt/nanofleet/current").stdout != was,
        within_s=180,
        every_s=0.2,
    )
    lost.cut()
    try:
        done = fleet.end(rollout, began, label="rollout.yml, a cable out for good")
    finally:
        lost.mend()
    assert done.status != 0, done.told
    assert fleet.versions("nano-1", "nano-2") == dict.fromkeys(("nano-1", "nano-2"), GROWN)
    assert fleet.retry_list() == ["nano-3"]
    again = fleet.play(
        "rollout.yml",
        *QUICK_SOAK,
        *("--limit", f"@{fleet.lab.place.inventory}/retry.txt"),
        version=GROWN,
        label="rollout.yml, the cable is back",
    )
    assert again.status == 0, again.told
    assert fleet.versions("nano-3") == {"nano-3": GROWN}
    nothing_is_missing(fleet)


def test_certificates_are_rotated_and_nothing_is_lost(fleet: Fleet) -> None:
    before = {name: serial_of(fleet, name) for name in NODES}
    done = fleet.play("rotate-certs.yml", "-e", "nanofleet_pki_renew=force", label="rotate-certs.yml")
    assert done.status == 0, done.told
    assert all(serial_of(fleet, name) != before[name] for name in NODES)
    heard = {name: fleet.heard.count(name) for name in NODES}
    until_blocking(lambda: all(fleet.heard.count(name) > heard[name] + 2 for name in NODES), within_s=60)
    nothing_is_missing(fleet)


@pytest.mark.slow
def test_rotation_again_changes_nothing(fleet: Fleet) -> None:
    again = fleet.play("rotate-certs.yml", label="rotate-certs.yml again")
    assert again.status == 0, again.told
    assert not any(again.changed.values()), changes_in(again.output)


def test_a_policy_by_ansible_and_drift_that_it_finds(fleet: Fleet) -> None:
    policy = policy_file(fleet, version=10, rate_hz=3)
    done = fleet.play("policy.yml", "-e", f"@{policy}", label="policy.yml")
    assert done.status == 0, done.told
    assert {
        name: told["config"]["version"] for name, told in fleet.reported(*NODES).items()
    } == dict.fromkeys(NODES, 10)
    again = fleet.play("policy.yml", "-e", f"@{policy}", label="policy.yml again")
    assert again.status == 0, again.told
    assert not any(again.changed.values()), changes_in(again.output)

    other = fleet.folder / "other.yaml"
    document = yaml.safe_load(policy_file(fleet, version=11, rate_hz=1).read_text())
    other.write_text(yaml.safe_dump(document["nanofleet_policy"]))
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
    node = identity_files(fleet.lab.host("nano-1").root / "etc/nanofleet")
    forged = ("-q", "1", "-t", "edge/v1/lab/nano-2/events/forged", "-m", '{"v":1,"forged":true}')
    published = speak(fleet, "mosquitto_pub", "-d", *node, *forged)
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
    assert speak(fleet, "mosquitto_sub", *identity_files(stolen, key="node.key"), *lasting).returncode == 0
    done = fleet.play("decommission.yml", "-e", "nanofleet_decommission=nano-3", label="decommission.yml")
    assert done.status == 0, done.told
    node = fleet.lab.host("nano-3")
    for folder in ("/opt/nanofleet", "/etc/nanofleet", "/var/lib/nanofleet"):
        assert node.run("sudo", "test", "-e", folder, check=False).returncode == 1, folder
    assert not fleet.ask("get", "lab/*")["nodes"].get("lab/nano-3")
    tried = speak(fleet, "mosquitto_sub", *identity_files(stolen, key="node.key"), *lasting)
    # 27: let in, and heard nothing.
    assert tried.returncode not in {0, 27}, "a certificate that was revoked still connects"


def test_nothing_is_missing_in_the_end(fleet: Fleet) -> None:
    nothing_is_missing(fleet)
