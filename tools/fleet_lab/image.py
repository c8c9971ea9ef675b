"""The disk that all hosts begin with: a bare Debian, made once and never written to again."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tools.fleet_lab.place import ROOT, LabError

RELEASE: Final = "bookworm"
PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "python3", "sudo", "iproute2"),
    *("ca-certificates", "openssl", "procps", "mosquitto", "prometheus", "python3-apt"),
)
"""Minimal, but for mosquitto, prometheus and what Ansible needs for apt: these hosts have no package source
to take them from. There is neither pip nor venv for their Python."""

USER: Final = "keeper"
"""Who comes in by ssh; everything else he does by sudo."""

_TIMEOUT_S: Final = 900


def base_image() -> Path:
    """The folder of the image, made now if need be: about a minute, from Debian's archive.

    Raises:
        LabError: debootstrap failed; its last words are told.
    """
    told = " ".join((RELEASE, USER, *PACKAGES))
    image = ROOT / f"base-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    ROOT.mkdir(parents=True, exist_ok=True)
    # Two labs may be brought up at once; the second waits for the first one's image.
    with (ROOT / "base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.is_dir():
            _make(image)
    return image


def _make(image: Path) -> None:
    making = image.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(making)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        shutil.rmtree(making, ignore_errors=True)
        raise LabError(f"debootstrap failed: {(done.stdout + done.stderr).strip()[-600:]}")
    _make_bare(making)
    making.rename(image)


def _make_bare(image: Path) -> None:
    """What a fresh installation would have: a user with sudo, and no service that nobody asked for."""
    wants = image / "etc/systemd/system/multi-user.target.wants"
    for service in ("mosquitto", "prometheus", "prometheus-node-exporter"):
        (wants / f"{service}.service").unlink(missing_ok=True)
    for service in ("systemd-networkd", "ssh"):
        (wants / f"{service}.service").unlink(missing_ok=True)
        (wants / f"{service}.service").symlink_to(f"/lib/systemd/system/{service}.service")
    subprocess.run(
        ["chroot", str(image), "useradd", "--create-home", "--shell", "/bin/bash", USER],
        check=True,
        timeout=60,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    sudoers = image / "etc/sudoers.d" / USER
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    # Keys alone, and no look-ups of names that nobody serves.
    (image / "etc/ssh/sshd_config.d/lab.conf").write_text("PasswordAuthentication no\nUseDNS no\n")
    for key in (image / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (image / "etc/resolv.conf").unlink(missing_ok=True)
    (image / "etc/resolv.conf").write_text("")
    (image / "etc/machine-id").write_text("")
