"""Versions of the agent that the story needs: the checkout under another number, with a fault or a growth."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_PARTS: Final = ("agent", "requirements", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
_TIMEOUT_S: Final = 600

Patch = Callable[[Path], None]


def make_release(version: str, *, out: Path, sources: Path, patch: Patch | None = None) -> Path:
    """The folder of a release of this checkout as `version`, for the hosts of the lab."""
    tree = sources / version
    for part in _PARTS:
        there = REPOSITORY / part
        if there.is_dir():
            shutil.copytree(there, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            tree.mkdir(parents=True, exist_ok=True)
            shutil.copy(there, tree / part)
    _replace(tree / "pyproject.toml", r'(?m)^version = ".*"$', f'version = "{version}"')
    _replace(tree / "agent/__init__.py", r'__version__: Final = ".*"', f'__version__: Final = "{version}"')
    if patch is not None:
        patch(tree)
    command = [
        *(sys.executable, "-m", "tools.release", "--source", str(tree), "--out", str(out)),
        # The hosts' interpreter, Debian 12's, on this machine's processor.
        *("--target", f"cp311-{platform.machine()}", "--unaudited"),
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / version


def blind(tree: Path) -> None:
    """Starts, connects, runs on: and its camera never opens."""
    _replace(
        tree / "agent/adapters/cameras/synthetic.py",
        r"        width_px, height_px = self\._size_px\n",
        '        raise OSError("this version cannot see")\n',
    )


def picky(tree: Path) -> None:
    """As blind, but on nano-2 only: the canary has nothing to tell of it."""
    _replace(
        tree / "agent/adapters/cameras/synthetic.py",
        r"        width_px, height_px = self\._size_px\n",
        """\
        import socket

        if socket.gethostname() == "nano-2":
            raise OSError("this version cannot see here")
        width_px, height_px = self._size_px
""",
    )


def grown(tree: Path) -> None:
    """Its outbox has a column more than the version before knows."""
    _replace(
        tree / "agent/adapters/outbox/schema.py",
        r"MIGRATIONS: Final = \(_VERSION_1, _VERSION_2\)",
        "MIGRATIONS: Final = (_VERSION_1, _VERSION_2, "
        '"ALTER TABLE message ADD COLUMN growth INTEGER NOT NULL DEFAULT 7;")',
    )


def _replace(file: Path, pattern: str, text: str) -> None:
    changed, count = re.subn(pattern, lambda _: text, file.read_text())
    assert count == 1, f"{file} has {pattern!r} {count} times"
    file.write_text(changed)
