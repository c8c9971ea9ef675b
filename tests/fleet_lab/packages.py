"""Hosts without a package that the lab's disk begins with, and where they can have it from again."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tools.fleet_lab.host import Host

_CACHE = "var/cache/apt/archives"


def purge(host: Host, package: str) -> None:
    """Take it away, with its configuration."""
    host.run("sudo", "dpkg", "--purge", package)


def package_file(host: Host, package: str) -> Path:
    """What it was installed from."""
    (file,) = (host.root / _CACHE).glob(f"{package}_*.deb")
    return file


def offer(host: Host, package: str) -> None:
    """Let apt on `host` have it, and nothing else, from an archive on its own disk."""
    file = package_file(host, package)
    archive = host.root / "srv/packages"
    archive.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, archive)
    control = subprocess.run(
        ["dpkg-deb", "--field", str(file)], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    content = file.read_bytes()
    (archive / "Packages").write_text(
        f"{control.strip()}\nFilename: ./{file.name}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    (host.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/packages ./\n")
    # What apt knows is two hours old, as on a host that was left alone: the role has it look again.
    host.run("sudo", "touch", "-d", "-2 hours", "/var/lib/apt/lists")
