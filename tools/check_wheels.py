"""Show that every package of a lock file has a wheel for 64-bit ARM, so that a node compiles nothing.

usage: python tools/check_wheels.py requirements/run-cpu.txt [...]

The platform is manylinux_2_28 on aarch64: Debian 12, Ubuntu 20.04 and newer, JetPack 6. Only metadata
is read, nothing is installed: the hashes are checked by pip when it installs. Exit status 1 names
the package that has no wheel.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import uv

PLATFORM: Final = "aarch64-manylinux_2_28"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_TIMEOUT_S: Final = 300


def resolve(lock: Path, *, python: str) -> str | None:
    """Resolve a lock file to wheels alone. Returns what is wrong, or None."""
    # A folder of its own for --target: else what this environment has would count as there.
    with tempfile.TemporaryDirectory() as nowhere:
        command = [
            *(uv.find_uv_bin(), "pip", "install", "--dry-run", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--python-platform", PLATFORM, "--python-version", python),
            *("--target", nowhere, "--requirement", str(lock)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


def main(arguments: list[str]) -> int:
    """Check the lock files named. Returns the exit status."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    status = 0
    for lock in map(Path, arguments):
        for python in PYTHONS:
            problem = resolve(lock, python=python)
            if problem is None:
                print(f"{lock.name}: every package has a wheel for Python {python} on {PLATFORM}")
            else:
                print(f"{lock.name}, Python {python}: {problem}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
