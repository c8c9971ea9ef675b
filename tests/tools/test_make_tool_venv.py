"""When `make venv-ansible` and its like make an environment, and when they leave it alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parent.parent.parent

# Stands for uv: notes what it was asked to do; an environment is made of what makes one out.
UV: Final = """#!/bin/sh
echo "$*" >>uv-calls
for last; do :; done
case "$1" in
    venv) mkdir -p "$last/bin"; echo >"$last/pyvenv.cfg"; cp .venv/bin/python "$last/bin/python" ;;
esac
"""
PYTHON: Final = """#!/bin/sh
echo "Python 3.11.7"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    (folder / "tools").mkdir(parents=True)
    (folder / "requirements").mkdir()
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tools" / "make_tool_venv.sh", folder / "tools")
    (folder / "requirements" / "ansible.txt").write_text("ansible==12.0 --hash=sha256:0\n")
    for name, text in {"uv": UV, "python": PYTHON}.items():
        path = folder / ".venv" / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return folder


def make(checkout: Path, name: str = "ansible") -> subprocess.CompletedProcess[str]:
    command = ["sh", "tools/make_tool_venv.sh", name]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=30, check=False)


def calls(checkout: Path) -> list[str]:
    """What uv was asked since the last look."""
    path = checkout / "uv-calls"
    said = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return said


def test_environment_is_made_of_its_lock_by_hashes(checkout: Path) -> None:
    assert make(checkout).returncode == 0
    made, installed = calls(checkout)
    assert made.endswith(".venv-ansible")
    assert "--require-hashes" in installed
    assert installed.endswith("-r requirements/ansible.txt")


def test_environment_is_made_again_only_where_something_changed(checkout: Path) -> None:
    make(checkout)
    calls(checkout)
    make(checkout)
    assert calls(checkout) == []
    (checkout / "requirements" / "ansible.txt").write_text("ansible==12.1 --hash=sha256:1\n")
    make(checkout)
    assert len(calls(checkout)) == 2


def test_environment_that_moved_is_made_again(checkout: Path) -> None:
    make(checkout)
    calls(checkout)
    elsewhere = checkout.rename(checkout.with_name("elsewhere"))
    make(elsewhere)
    assert len(calls(elsewhere)) == 2


def test_folder_that_is_no_environment_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv-ansible").mkdir()
    (checkout / ".venv-ansible" / "notes").write_text("mine")
    done = make(checkout)
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (checkout / ".venv-ansible" / "notes").read_text() == "mine"


def test_name_without_a_lock_is_refused(checkout: Path) -> None:
    done = make(checkout, "nothing")
    assert done.returncode == 2
    assert "there is no requirements/nothing.txt" in done.stderr
