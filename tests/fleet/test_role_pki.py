"""The role `pki` on a controller: whatever a host asks for, it gets its own certificate or none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ANSIBLE: Final = REPOSITORY / "deploy/ansible"
_PLAYER: Final = REPOSITORY / ".venv-ansible/bin/ansible-playbook"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PASSPHRASE: Final = "not to be seen anywhere"

OWN: Final = {
    "subject": "CN = nano-1",
    "asked": "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n"
    "extendedKeyUsage = clientAuth",
}
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


def request(folder: Path, *, subject: str, asked: str, curve: str = "prime256v1") -> str:
    """A request as a host makes it, PEM."""
    settings = folder / "request.cnf"
    settings.write_text(
        f"[req]\nprompt = no\ndistinguished_name = name\nreq_extensions = asked\n[name]\n{subject}\n"
        f"[asked]\n{asked}\n"
    )
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes"]
    command += ["-keyout", str(folder / "key.pem"), "-config", str(settings)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def require_ansible() -> None:
    """Skips (in CI: fails) without .venv-ansible."""
    if not _PLAYER.exists():
        lacking = "this machine lacks: .venv-ansible (make venv-ansible)"
        if os.environ.get("CI") == "true":
            pytest.fail(lacking)
        pytest.skip(lacking)


def play(folder: Path, tasks: list[dict[str, Any]], **variables: Any) -> str:
    """What the playbook printed, told in every detail."""
    require_ansible()
    book = folder / "play.yml"
    told = {
        "nanofleet_pki_dir": str(folder / "pki"),
        "nanofleet_pki_ca_passphrase": PASSPHRASE,
        "nanofleet_pki_clients": ["controller"],
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    head = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": told | variables}
    book.write_text(yaml.safe_dump([{**head, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
        "ANSIBLE_FILTER_PLUGINS": str(ANSIBLE / "filter_plugins"),
        "ANSIBLE_LIBRARY": str(ANSIBLE / "library"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(_PLAYER), "-vvv", "-i", "localhost,", str(book)]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return said


def role(tasks_from: str, **variables: Any) -> dict[str, Any]:
    include = {"ansible.builtin.include_role": {"name": "pki", "tasks_from": tasks_from}}
    return {"name": f"Run {tasks_from}", **include, **({"vars": variables} if variables else {})}


def signing(pem: str) -> dict[str, Any]:
    return role(
        "sign.yml",
        __nanofleet_pki_request=pem,
        __nanofleet_pki_subject="nano-1",
        __nanofleet_pki_purpose="client",
        __nanofleet_pki_san=[],
        __nanofleet_pki_for="180d",
    )


def test_a_request_for_anything_but_its_own_name_and_purpose_is_not_signed(tmp_path: Path) -> None:
    tasks = [role("authority.yml"), signing(request(tmp_path, **OWN))]
    for what, forged in FORGED.items():
        told = {"ansible.builtin.debug": {"msg": f"refused: {what}"}}
        failed = {"ansible.builtin.fail": {"msg": f"signed: {what}"}}
        tasks.append(
            {
                "name": f"Try {what}",
                "block": [signing(request(tmp_path, **{**OWN, **forged})), failed],
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
    said = play(tmp_path, tasks)
    assert {what for what in FORGED if f"refused: {what}" in said} == set(FORGED)
    issued = sorted(file.name.split(".")[0] for file in (tmp_path / "pki/issued").iterdir())
    assert issued == sorted(2 * ["controller", "nano-1", "refused", "verify"])
    assert PASSPHRASE not in said
    assert "PRIVATE KEY" not in said
    assert (tmp_path / "pki/ca.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY")
    assert (tmp_path / "pki/ca.key").stat().st_mode & 0o777 == 0o600


def test_what_was_issued_to_a_name_is_revoked_all_of_it_and_once(tmp_path: Path) -> None:
    sign = signing(request(tmp_path, **OWN))
    revoke = role("revoke.yml", __nanofleet_pki_gone=[{"name": "nano-1", "site": "plant"}])
    play(tmp_path, [role("authority.yml"), sign, sign, revoke, revoke])
    entries = yaml.safe_load((tmp_path / "pki/revoked.yml").read_text())
    assert [(entry["name"], entry["site"], len(entry["serials"])) for entry in entries] == [
        ("nano-1", "plant", 2)
    ]
    for name, holds in (("nano-1", False), ("refused", False), ("controller", True)):
        command = ["openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", str(tmp_path / "pki/ca.pem")]
        command += ["-CRLfile", str(tmp_path / "pki/crl.pem"), str(tmp_path / f"pki/issued/{name}.pem")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode == 0) == holds, done.stderr
        assert holds or "certificate revoked" in done.stderr


def playbook(folder: Path, name: str, *options: str) -> str:
    """What a playbook printed over two nodes that nobody can reach; box-1 carries the node nano-1."""
    require_ansible()
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1, "nanofleet_site": "plant"}
    hosts = {"box-1": {**away, "nanofleet_node": "nano-1"}, "box-2": away}
    groups = {
        "nodes": {"hosts": hosts, "vars": {"nanofleet_pki_serial": 1}},
        "broker": {"hosts": {"broker-1": away}},
    }
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": groups}}))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_RETRIES": "0",
        "COLUMNS": "400",
    }
    command = [str(_PLAYER), "-i", str(inventory), name, *options]
    done = subprocess.run(
        command, env=environment, cwd=ANSIBLE, capture_output=True, text=True, timeout=240, check=False
    )
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
