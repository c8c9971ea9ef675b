"""One archive is installed as a node installs it: without any network, by the pip that it holds."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.release.programs import ReleaseError, run
from tools.release.wheels import sha256_of

_TIMEOUT_S: Final = 600
# Nothing of this machine's configuration may help: a node has none.
_ALONE: Final = {
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_CONSTRAINT": "",
    "PIP_FIND_LINKS": "",
    "PIP_EXTRA_INDEX_URL": "",
    "PYTHONPATH": "",
}


def install(archive: Path, *, wheel: Path, folder: Path, compiled: bool = True) -> Path:
    """Install an archive for this machine, and the agent's wheel, into a new environment at `folder`.

    Returns its `nanofleet`.

    Raises:
        ReleaseError: Something is not in the archive, or does not have the hash that its requirements name.
    """
    with tempfile.TemporaryDirectory() as name:
        wheelhouse = Path(name)
        run(["tar", "-xf", archive, "-C", wheelhouse], what=f"tar {archive.name}", timeout_s=_TIMEOUT_S)
        base_python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        run([base_python, "-m", "venv", "--without-pip", folder], what="venv", timeout_s=_TIMEOUT_S)
        pip = next(wheelhouse.glob("pip-*.whl"))
        command: list[str | Path] = [
            *(folder / "bin" / "python", pip / "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-index", "--find-links", ".", "--require-hashes", "--only-binary", ":all:"),
            *("--compile" if compiled else "--no-compile", "--no-cache-dir"),
            *("-r", "requirements/base.txt", "-r", "requirements/cpu.txt"),
        ]
        run(
            command,
            what=archive.name,
            folder=wheelhouse,
            timeout_s=_TIMEOUT_S,
            extra_environment=_ALONE,
        )
        own = [*command[: command.index("-r")], "--no-deps", "-r", "own.txt"]
        (wheelhouse / "own.txt").write_text(f"{wheel.resolve()} --hash=sha256:{sha256_of(wheel)}\n")
        run(own, what=wheel.name, folder=wheelhouse, timeout_s=_TIMEOUT_S, extra_environment=_ALONE)
    return folder / "bin" / "nanofleet"


def try_out(archive: Path, *, wheel: Path, version: str) -> None:
    """Install an archive and the agent's wheel, and ask the command for its version.

    Raises:
        ReleaseError: It does not install, or says another version.
    """
    with tempfile.TemporaryDirectory() as name:
        command = install(archive, wheel=wheel, folder=Path(name) / "environment", compiled=False)
        said = run([command, "version"], what="nanofleet version", timeout_s=60).stdout.strip()
        shutil.rmtree(Path(name) / "environment")
    if version not in said.split():
        raise ReleaseError(f"{archive.name}: installed, it says version {said!r} instead of {version}")
