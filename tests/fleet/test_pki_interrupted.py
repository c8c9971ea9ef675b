"""The role `pki` on a host whose run was killed: the next one leaves a certificate that fits its key."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fleet.role_pki import as_root, play, role, stand_in

pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(600)]

RENEW: Final[dict[str, Any]] = {"nanofleet_pki_renew": "force", "nanofleet_pki_rekey": True}
READ: Final = {
    "community.crypto.x509_certificate_info": {"path": "{{ nanofleet_pki_dir }}/ca.pem"},
    "register": "__nanofleet_pki_ca",
}
FLUSH: Final = {"ansible.builtin.meta": "flush_handlers"}


class Host:
    """Key and certificate of nano-1 in a folder, and a systemctl that writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = folder / "systemctl.log"
        self.key = folder / "etc/secrets/node.key"
        self.certificate = folder / "etc/node.pem"

    def run(self, *, fails: bool = False, mv: str | None = None, **more: Any) -> str:
        """See to key and certificate. `mv`: a script in its place, for this run."""
        self._told.write_text("")
        path = stand_in(self._folder, "systemctl", f"echo \"$@\" >>{self._told}\necho 'systemd 252 (252)'")
        if mv is None:
            (self._folder / "stand-ins/mv").unlink(missing_ok=True)
        else:
            stand_in(self._folder, "mv", mv)
        return play(
            self._folder,
            [READ, role("configure.yml"), FLUSH, role("verify.yml")],
            options=(),
            before=as_root(),
            environment={"PATH": path},
            fails=fails,
            nanofleet_pki_name="nano-1",
            nanofleet_pki_folder=str(self._folder / "etc"),
            nanofleet_pki_group="root",
            nanofleet_pki_clients=[],
            **more,
        )

    @property
    def restarts(self) -> int:
        """How often the last run restarted the agent."""
        return self._told.read_text().count("try-restart nanofleet.service")

    def fits(self) -> bool:
        """Whether the certificate is for the key."""
        ask = ["openssl", "pkey", "-pubout", "-in", str(self.key)]
        of_key = subprocess.run(ask, capture_output=True, timeout=20, check=True).stdout
        ask = ["openssl", "x509", "-noout", "-pubkey", "-in", str(self.certificate)]
        return subprocess.run(ask, capture_output=True, timeout=20, check=True).stdout == of_key


@pytest.fixture
def host(controller: Path) -> Host:
    host = Host(controller)
    host.run()
    assert host.fits()
    return host


def killed_after(moved: Path) -> str:
    """An mv that moves, and after this file ends the shell that called it as a power cut would."""
    return f'/bin/mv "$@"\nfor last in "$@"; do :; done\n[ "$last" != "{moved}" ] || kill -9 $PPID'


def test_a_run_that_was_killed_between_key_and_certificate_is_mended_by_the_next(host: Host) -> None:
    before = host.key.read_bytes(), host.certificate.read_bytes()
    host.run(mv=killed_after(host.key), fails=True, **RENEW)
    assert host.key.read_bytes() != before[0]
    assert host.certificate.read_bytes() == before[1]
    assert not host.fits()
    assert host.restarts == 0
    said = host.run()
    assert "nano-1 gets a certificate: not for its key" in said
    assert host.fits()
    assert host.restarts == 1
    said = host.run()
    assert "changed=0" in said
    assert host.restarts == 0


def test_a_run_that_was_killed_before_the_restart_leaves_a_key_that_is_younger_than_the_agent(
    host: Host, tmp_path: Path
) -> None:
    """By which rotate-certs.yml and site.yml find the agent, also one that began while the key waited."""
    began = tmp_path / "began"
    waiting = f'touch -d @1000000000 "{host.key}.new"; exec /usr/bin/sync "$@"'
    stand_in(tmp_path, "sync", waiting)
    began.touch()
    host.run(mv=killed_after(host.certificate), fails=True, **RENEW)
    assert host.fits()
    assert host.restarts == 0
    assert host.key.stat().st_mtime >= began.stat().st_mtime


def test_a_renewed_certificate_needs_no_restart_and_a_new_key_does(host: Host) -> None:
    key, certificate = host.key.read_bytes(), host.certificate.read_bytes()
    host.run(nanofleet_pki_renew="force")
    assert host.certificate.read_bytes() != certificate
    assert (host.key.read_bytes(), host.restarts) == (key, 0)
    host.run(**RENEW)
    assert host.key.read_bytes() != key
    assert host.restarts == 1
