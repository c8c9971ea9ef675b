"""The programs that some tests need beside Python, and the Debian packages that bring them."""

from __future__ import annotations

import os
import shutil
from typing import Final

from tools.fleet_lab.place import PROGRAMS

# Debian keeps daemons where an ordinary user's PATH does not look.
_SEARCH_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])

PACKAGES_BY_MARKER: Final[dict[str, dict[str, str]]] = {
    "broker": {"mosquitto": "mosquitto", "mosquitto_sub": "mosquitto-clients"},
    "ffmpeg": {"ffmpeg": "ffmpeg"},
    "faketime": {"faketime": "faketime"},
    "fleet": PROGRAMS,
    "prometheus": {"prometheus": "prometheus", "promtool": "prometheus"},
}
"""For each marker: program → Debian package."""


def find_program(name: str) -> str | None:
    """The path of a program, daemons included, or None."""
    return shutil.which(name, path=_SEARCH_PATH)


def missing_packages(marker: str) -> tuple[str, ...]:
    """The Debian packages to install before tests with this marker can run; empty if they can."""
    programs = PACKAGES_BY_MARKER.get(marker, {})
    return tuple(package for program, package in programs.items() if find_program(program) is None)
