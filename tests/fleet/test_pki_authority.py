"""The authority's key: made once, nothing but it signs, and what is wrong is told before anything changes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fleet.player import ANSIBLE, PLAYER
from tests.fleet.role_pki import PASSPHRASE, play, role

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(300)]

OTHER: Final = "another passphrase of somebody"
GONE: Final = [{"name": "nano-1", "site": "plant"}]
ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "authority.yml": {},
    "revoke.yml": {"__nanofleet_pki_gone": GONE},
}


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of all that is below a folder."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mode & 0o777) for file in found}


def foreign_key(folder: Path) -> bytes:
    """Of nobody's authority, encrypted with the passphrase of ours."""
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-aes256", "-pass", "stdin"]
    done = subprocess.run(
        made, input=PASSPHRASE.encode(), cwd=folder, capture_output=True, timeout=20, check=True
    )
    return done.stdout


def lose_key(pki: Path) -> None:
    (pki / "ca.key").unlink()


def swap_key(pki: Path) -> None:
    (pki / "ca.key").write_bytes(foreign_key(pki))


def spoil_key(pki: Path) -> None:
    (pki / "ca.key").write_text("")


WRONG: Final[dict[str, tuple[Callable[[Path], None], dict[str, Any], str]]] = {
    "another passphrase": (
        lambda _pki: None,
        {"nanofleet_pki_ca_passphrase": OTHER, "nanofleet_pki_renew": "force"},
        "nanofleet_pki_ca_passphrase does not open {pki}/ca.key; nothing was changed",
    ),
    "an empty key": (
        spoil_key,
        {},
        "nanofleet_pki_ca_passphrase does not open {pki}/ca.key; nothing was changed",
    ),
    "a foreign key": (swap_key, {}, "{pki}/ca.key is not the key of {pki}/ca.pem; nothing was changed"),
    "no key": (lose_key, {}, "{pki} has ca.pem and no ca.key; nothing was changed"),
}


@pytest.mark.parametrize("options", [["-vvv"], ["-vvv", "--check", "--diff"]], ids=["run", "check"])
def test_what_the_authority_cannot_sign_with_is_told_and_nothing_is_changed(
    authority: Path, tmp_path: Path, options: list[str]
) -> None:
    tasks, told = [], set()
    for number, (spoil, variables, words) in enumerate(WRONG.values()):
        pki = tmp_path / f"{number}/pki"
        shutil.copytree(authority / "pki", pki)
        spoil(pki)
        for entry, more in ENTRIES.items():
            attempt = role(entry, nanofleet_pki_dir=str(pki), **variables, **more)
            failed = {"ansible.builtin.debug": {"msg": f"{entry}: {{{{ ansible_failed_result.msg }}}}"}}
            passed = {"ansible.builtin.debug": {"msg": f"{entry} passed in {number}"}}
            tasks.append({"name": f"Try {number}", "block": [attempt, passed], "rescue": [failed]})
            told.add(f"{entry}: {words.format(pki=pki)}")
    before = files(tmp_path)
    said = " ".join(play(tmp_path, tasks, options=options).split())
    assert {words for words in told if words not in said} == set()
    assert "passed in" not in said.partition("PLAY RECAP")[0].replace("passed in {{", "")
    assert {name: held for name, held in files(tmp_path).items() if name != "play.yml"} == before
    assert "changed=0" in said
    assert OTHER not in said
    assert PASSPHRASE not in said


def test_a_key_without_a_certificate_gets_one_and_stays(controller: Path) -> None:
    key = (controller / "pki/ca.key").read_bytes()
    (controller / "pki/ca.pem").unlink()
    said = play(controller, [role("authority.yml")], fails=True, nanofleet_pki_ca_passphrase=OTHER)
    assert "does not open" in said
    play(controller, [role("authority.yml")])
    assert (controller / "pki/ca.key").read_bytes() == key


def test_a_key_of_a_client_that_cannot_be_read_is_left_as_it_is(controller: Path) -> None:
    key = controller / "pki/clients/controller.key"
    key.write_text("once a key")
    said = play(controller, [role("authority.yml")], fails=True)
    assert f"{key} cannot be read, and was left as it is" in said
    assert key.read_text() == "once a key"


def test_a_client_whose_certificate_is_for_another_key_gets_a_new_one(controller: Path) -> None:
    """As a run leaves it that was killed after it had made the key."""
    clients = controller / "pki/clients"
    before = {name: (clients / f"{name}.pem").read_bytes() for name in ("controller", "verify")}
    (clients / "controller.key").unlink()
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-out", str(clients / "controller.key")]
    subprocess.run(made, capture_output=True, timeout=20, check=True)
    (clients / "controller.key").chmod(0o600)
    key = (clients / "controller.key").read_bytes()
    play(controller, [role("authority.yml")])
    assert (clients / "controller.key").read_bytes() == key
    asked = ["openssl", "pkey", "-pubout", "-in", str(clients / "controller.key")]
    public = subprocess.run(asked, capture_output=True, timeout=20, check=True).stdout
    asked = ["openssl", "x509", "-noout", "-pubkey", "-in", str(clients / "controller.pem")]
    assert subprocess.run(asked, capture_output=True, timeout=20, check=True).stdout == public
    assert (clients / "controller.pem").read_bytes() != before["controller"]
    assert (clients / "verify.pem").read_bytes() == before["verify"]
    assert "changed=0" in play(controller, [role("authority.yml")])


def holds(pki: Path) -> bool:
    """Whether the revocation list is signed by the authority."""
    ask = ["openssl", "crl", "-noout", "-CAfile", str(pki / "ca.pem"), "-in", str(pki / "crl.pem")]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=False)
    return "verify OK" in done.stderr.splitlines()


def signed_by_another(pki: Path) -> bytes:
    """A revocation list of the same issuer and content as the one there, by a foreign key."""
    book = [
        {
            "community.crypto.x509_crl": {
                "path": str(pki / "foreign.pem"),
                "privatekey_content": foreign_key(pki).decode(),
                "privatekey_passphrase": PASSPHRASE,
                "issuer": {"commonName": "nanofleet"},
                "last_update": "-1h",
                "next_update": "+730d",
                "serial_numbers": "hex-octets",
                "revoked_certificates": [],
            }
        }
    ]
    play(pki, book)
    return (pki / "foreign.pem").read_bytes()


def test_a_list_that_the_authority_has_not_signed_never_takes_the_place_of_one_that_it_has(
    controller: Path,
) -> None:
    pki = controller / "pki"
    before = files(pki)
    said = play(
        controller, [role("authority.yml")], fails=True, nanofleet_pki_ca_name="another name than ca.pem has"
    )
    assert "crl.pem was left as it is" in said
    assert files(pki) == before
    (pki / "crl.pem").write_bytes(signed_by_another(controller / "pki"))
    assert not holds(pki)
    play(controller, [role("authority.yml")])
    assert holds(pki)
    said = play(controller, [role("authority.yml")])
    assert "changed=0" in said
    assert not (pki / "crl.pem.new").exists()
    assert len(list((pki / "issued").glob("nano-1.*.pem"))) == 1


def test_who_has_no_vault_is_told_how_to_come_by_one(tmp_path: Path) -> None:
    include = {"ansible.builtin.include_role": {"name": "pki"}}
    said = play(
        tmp_path,
        [include],
        options=(),
        fails=True,
        nanofleet_pki_ca_passphrase=None,
        nanofleet_pki_name="nano-1",
    )
    assert "copy vault.example.yml to group_vars/all/vault.yml" in said
    assert "--ask-vault-pass" in said
    assert len(said.splitlines()) < 40
    assert not (tmp_path / "pki").exists()
    assert (ANSIBLE / "inventories/three/vault.example.yml").is_file()


@pytest.mark.parametrize(("environment", "seen"), [({}, False), ({"ANSIBLE_PIPELINING": "False"}, True)])
def test_the_passphrase_is_in_no_file_while_a_module_runs(
    controller: Path, environment: dict[str, str], seen: bool
) -> None:
    """But for the one where the administrator wrote it; without pipelining it would be."""
    home = controller / "home"
    home.mkdir()
    places = {"HOME": home, "TMPDIR": home, "ANSIBLE_LOCAL_TEMP": home, "ANSIBLE_REMOTE_TEMP": home}
    calls, found = controller / "calls", controller / "found"
    python = controller / "python"
    python.write_text(
        f"#!/bin/sh\necho called >>{calls}\ngrep -rlF '{PASSPHRASE}' {home} >>{found}\n"
        f'exec {PLAYER.with_name("python")} "$@"\n'
    )
    python.chmod(0o755)
    play(
        controller,
        [role("authority_key.yml")],
        environment={**{name: str(place) for name, place in places.items()}, **environment},
        ansible_python_interpreter=str(python),
    )
    assert len(calls.read_text().splitlines()) >= 4
    assert bool(found.read_text()) == seen


def test_a_host_is_not_given_to_another_authority_in_passing(authority: Path, tmp_path: Path) -> None:
    """As a mistyped nanofleet_pki_dir would do it."""
    host, elsewhere = tmp_path / "host", tmp_path / "elsewhere"
    host.mkdir()
    shutil.copy(authority / "pki/ca.pem", host)
    preflight = role("preflight.yml", nanofleet_pki_folder=str(host), nanofleet_pki_name="nano-1")
    refused = play(tmp_path, [preflight], fails=True, nanofleet_pki_dir=str(elsewhere))
    told = f"localhost trusts another authority than that of {elsewhere}, where there is none; nothing was"
    assert told in " ".join(refused.split())
    assert not elsewhere.exists()
    play(tmp_path, [preflight], nanofleet_pki_dir=str(elsewhere), nanofleet_pki_new_authority=True)
    play(tmp_path, [preflight], nanofleet_pki_dir=str(authority / "pki"))
