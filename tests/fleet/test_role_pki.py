"""The role `pki` on a controller: whatever a host asks for, it gets its own certificate or none."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.fleet.player import run_playbook
from tests.fleet.role_pki import OWN, PASSPHRASE, play, request, role, signing

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(300)]

FORGED: Final[Mapping[str, Mapping[str, str]]] = {
    "another name": {"subject": "CN = nano-2"},
    "two names": {"subject": "0.CN = nano-1\n1.CN = nano-2"},
    "more than a name": {"subject": "O = operations\nCN = nano-1"},
    "an authority": {"asked": OWN["asked"].replace("CA:FALSE", "CA:TRUE")},
    "to sign": {"asked": OWN["asked"].replace("digitalSignature", "digitalSignature, keyCertSign")},
    "a server": {"asked": OWN["asked"].replace("clientAuth", "serverAuth")},
    "both": {"asked": OWN["asked"].replace("clientAuth", "clientAuth, serverAuth")},
    "hosts": {"asked": OWN["asked"] + "\nsubjectAltName = DNS:broker.example"},
    "more": {"asked": OWN["asked"] + "\n1.2.3.4 = ASN1:UTF8String:anything"},
    "nothing": {"asked": "basicConstraints = CA:FALSE"},
    "a weak key": {"curve": "prime192v1"},
}


def test_a_request_for_anything_but_its_own_name_and_purpose_is_not_signed(controller: Path) -> None:
    tasks = []
    for what, forged in FORGED.items():
        told = {"ansible.builtin.debug": {"msg": f"refused: {what}"}}
        failed = {"ansible.builtin.fail": {"msg": f"signed: {what}"}}
        tasks.append(
            {
                "name": f"Try {what}",
                "block": [signing(request(controller, **{**OWN, **forged})), failed],
                "rescue": [
                    {
                        "ansible.builtin.assert": {
                            "that": "'Nothing was signed' in (ansible_failed_result.msg | default(''))"
                        }
                    },
                    told,
                ],
            }
        )
    said = play(controller, tasks)
    assert {what for what in FORGED if f"refused: {what}" in said} == set(FORGED)
    issued = sorted(file.name.split(".")[0] for file in (controller / "pki/issued").iterdir())
    assert issued == sorted(2 * ["controller", "nano-1", "refused", "verify"])
    assert PASSPHRASE not in said
    assert "PRIVATE KEY" not in said
    assert (controller / "pki/ca.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY")
    assert (controller / "pki/ca.key").stat().st_mode & 0o777 == 0o600


def test_what_was_issued_to_a_name_is_revoked_all_of_it_and_once(controller: Path) -> None:
    sign = signing(request(controller, **OWN))
    revoke = role("revoke.yml", __nanofleet_pki_gone=[{"name": "nano-1", "site": "plant"}])
    play(controller, [sign, revoke, revoke])
    entries = yaml.safe_load((controller / "pki/revoked.yml").read_text())
    assert [(entry["name"], entry["site"], len(entry["serials"])) for entry in entries] == [
        ("nano-1", "plant", 2)
    ]
    for name, holds in (("nano-1", False), ("refused", False), ("controller", True)):
        command = ["openssl", "verify", "-x509_strict", "-crl_check"]
        command += ["-CAfile", str(controller / "pki/ca.pem")]
        command += ["-CRLfile", str(controller / "pki/crl.pem"), str(controller / f"pki/issued/{name}.pem")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode == 0) == holds, done.stderr
        assert holds or "certificate revoked" in done.stderr


@pytest.mark.parametrize("life", ["364d23h", "two years"])
def test_a_revocation_list_of_less_than_a_year_is_refused_before_anything_is_made(
    tmp_path: Path, life: str
) -> None:
    told = f"nanofleet_pki_crl_life is {life}, and must be 365d or more"
    gone = [{"name": "nano-1", "site": "plant"}]
    for tasks in (role("preflight.yml"), role("revoke.yml", __nanofleet_pki_gone=gone)):
        said = play(tmp_path, [tasks], fails=True, nanofleet_pki_crl_life=life)
        assert told in said
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("life", ["365d", "52w1d"])
def test_a_revocation_list_of_a_year_is_taken(tmp_path: Path, life: str) -> None:
    play(tmp_path, [role("preflight.yml")], nanofleet_pki_crl_life=life, nanofleet_pki_name="nano-1")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nanofleet_pki_readmit=nano-31", """-e '{"nanofleet_pki_readmit": ["nano-31"]}'"""),
        ('{"nanofleet_pki_readmit": ["nano-31"]}', "nano-3 was decommissioned"),
        ('nanofleet_pki_readmit=["nano-3"]', """-e '{"nanofleet_pki_readmit": ["nano-3"]}'"""),
        ('{"nanofleet_pki_readmit": ["nano-3"]}', ""),
    ],
)
def test_who_is_readmitted_is_named_and_not_a_part_of_a_word(tmp_path: Path, given: str, told: str) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/revoked.yml").write_text("- {name: nano-3, site: plant, date: '', serials: []}\n")
    said = play(
        tmp_path,
        [role("preflight.yml")],
        options=("-e", given),
        fails=bool(told),
        nanofleet_pki_name="nano-3",
    )
    assert told in " ".join(said.split())


def test_a_word_for_the_clients_is_refused_before_anything_is_revoked(tmp_path: Path) -> None:
    """Each of its letters would be a client, and the controller none."""
    gone = [{"name": "nano-1", "site": "plant"}]
    words = ("-e", "nanofleet_pki_clients=controller,dashboard")
    said = play(tmp_path, [role("revoke.yml", __nanofleet_pki_gone=gone)], options=words, fails=True)
    assert """-e '{"nanofleet_pki_clients": ["controller", "dashboard"]}'""" in " ".join(said.split())
    assert not (tmp_path / "pki").exists()


def playbook(folder: Path, name: str, *options: str) -> str:
    """What a playbook printed over two nodes that nobody can reach; box-1 carries the node nano-1."""
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1, "nanofleet_site": "plant"}
    hosts = {"box-1": {**away, "nanofleet_node": "nano-1"}, "box-2": away}
    groups = {
        "nodes": {"hosts": hosts, "vars": {"nanofleet_pki_serial": 1}},
        "broker": {"hosts": {"broker-1": away}},
    }
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": groups}}))
    done = run_playbook("-i", str(inventory), name, *options)
    return done.stdout + done.stderr


@pytest.mark.parametrize("named", ["box-1", "nano-1"])
def test_a_node_is_not_wiped_unless_this_run_has_locked_it_out(tmp_path: Path, named: str) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/revoked.yml").write_text("- {name: nano-1, site: plant, date: '', serials: []}\n")
    said = playbook(tmp_path, "decommission.yml", "-e", f"nanofleet_decommission={named}", "--limit", "nodes")
    assert "nano-1 was not locked out at broker-1 in this run" in said
    assert "Look whether the node answers" not in said
    assert "box-2" not in said.split("Refuse to wipe")[1]


def test_certificates_are_renewed_as_many_at_once_as_the_group_says(tmp_path: Path) -> None:
    said = playbook(tmp_path, "rotate-certs.yml", "--limit", "nodes")
    assert said.count("PLAY [The certificates of the nodes]") == 2
