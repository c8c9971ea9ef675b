"""This project's own wheel, from a source tree, and which tree that was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.release.programs import ReleaseError, run
from tools.release.wheels import Wheel, read_wheel

_TIMEOUT_S: Final = 120


def build(source: Path, *, folder: Path) -> Wheel:
    """Build `source` into `folder`, with the build backend of this environment: nothing is fetched.

    The same tree gives the same bytes.

    Raises:
        ReleaseError: It does not build.
    """
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    run(command, what=f"building {source}", folder=source, timeout_s=_TIMEOUT_S)
    built = sorted(folder.glob("*.whl"))
    if len(built) != 1:
        raise ReleaseError(f"building {source} made {len(built)} wheels instead of one")
    return read_wheel(built[0])


def commit_of(source: Path) -> str | None:
    """The commit that a tree is at, with `+changes` where files differ from it; None outside of git."""
    top = _git(source, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != source.resolve():
        return None
    commit = _git(source, "rev-parse", "HEAD")
    # What goes into the wheel, or decides what is beside it.
    changes = _git(source, "status", "--porcelain", "--", "agent", "pyproject.toml", "requirements")
    return f"{commit}+changes" if commit and changes else commit


def _git(source: Path, *words: str) -> str | None:
    command = ["git", "-C", str(source), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
