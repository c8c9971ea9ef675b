"""Where a lab keeps its things, and what this machine lacks to hold one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2] / "build" / "fleet-lab"
PROGRAMS: Final = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mount": "mount",
}
"""Each program that a lab calls, and the Debian package that brings it."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,5}")


class LabError(Exception):
    """A lab cannot be had or used; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """One lab's folder, bridge and addresses; several labs stand side by side under different names."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            # The kernel gives a network interface 15 letters, and "vb-NAME-nano-1" has to fit.
            raise LabError(f"{self.name!r} is no lab's name: up to six letters and digits, lower case")

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    @property
    def key_file(self) -> Path:
        return self.folder / "id"

    @property
    def bridge(self) -> str:
        return f"nf-{self.name}"

    def address(self, number: int) -> str:
        """The address of host `number`; 1 is the controller's."""
        return f"10.213.{20 + zlib.crc32(self.name.encode()) % 200}.{number}"


def why_not() -> str | None:
    """What this machine lacks to hold a lab, in a sentence; None: nothing."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "a lab wants root on Linux: it mounts, bridges and boots"
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if packages:
        return f"Debian packages are missing: {' '.join(sorted(packages))}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlay file system"
    try:
        tree = cgroup_root()
    except LabError as error:
        return str(error)
    if not os.access(tree, os.W_OK) or not _makes_cgroups(tree):
        return f"control groups cannot be made below {tree}"
    return None


def cgroup_root() -> Path:
    """Where the unified hierarchy of control groups is mounted; beside older ones, or alone.

    Raises:
        LabError: nowhere.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    raise LabError("this kernel has no unified hierarchy of control groups (cgroup2) mounted")


def _makes_cgroups(tree: Path) -> bool:
    trial = tree / f"nanofleet-trial-{os.getpid()}"
    try:
        trial.mkdir()
        can_kill = (trial / "cgroup.kill").exists()
        trial.rmdir()
    except OSError:
        return False
    return can_kill
