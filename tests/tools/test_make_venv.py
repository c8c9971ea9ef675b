"""What `make venv` says on a machine where something is missing, and which Python it picks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parent.parent.parent
COREUTILS: Final = ("cat", "cksum", "dirname", "mkdir", "rm", "sh")

# Stands for an interpreter: tells its version, whether it has ensurepip, and what it was asked to do.
PYTHON: Final = """#!/bin/sh
echo "{name} $*" >>"$CALLS"
case "$*" in
    *version_info*"(3, 11)"*) exit {too_old} ;;
    *ensurepip*) exit {no_venv} ;;
    *print*) echo {version} ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo >"$3/pyvenv.cfg" ;;
esac
"""


class Machine:
    """A checkout in a folder with a space in its name, and a PATH with only what is put there."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        self.programs = folder / "bin"
        self.calls = folder / "calls"
        self.programs.mkdir(parents=True)
        (self.checkout / "tools").mkdir(parents=True)
        shutil.copy(REPOSITORY / "tools" / "make_venv.sh", self.checkout / "tools")
        shutil.copytree(REPOSITORY / "requirements", self.checkout / "requirements")
        shutil.copy(REPOSITORY / "pyproject.toml", self.checkout)
        for name in (*COREUTILS, "cp"):
            path = shutil.which(name)
            assert path is not None
            (self.programs / name).symlink_to(path)

    def add_python(self, name: str, version: str, *, venv: bool = True) -> None:
        too_old = tuple(map(int, version.split("."))) < (3, 11)
        path = self.programs / name
        path.write_text(
            PYTHON.format(name=name, version=version, too_old=int(too_old), no_venv=int(not venv))
        )
        path.chmod(0o755)

    def make_venv(self, level: str = "dev") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "tools/make_venv.sh", level],
            cwd=self.checkout,
            env={"PATH": str(self.programs), "CALLS": str(self.calls)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def installs(self) -> list[str]:
        """The pip calls since the last look."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [line.partition("--disable-pip-version-check ")[2] for line in lines if "-m pip" in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_make_venv_names_what_to_install_where_there_is_no_python(machine: Machine) -> None:
    machine.add_python("python3", "3.9")
    done = machine.make_venv()
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr


def test_make_venv_names_the_package_where_ensurepip_is_missing(machine: Machine) -> None:
    machine.add_python("python3", "3.12", venv=False)
    done = machine.make_venv()
    assert done.returncode == 1
    assert "apt-get install python3.12-venv" in done.stderr


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3": "3.13"}, "python3"),
        ({"python3": "3.9", "python3.12": "3.12"}, "python3.12"),
        ({"python3": "3.13", "python3.11": "3.11", "python3.12": "3.12"}, "python3.11"),
    ],
)
def test_make_venv_picks_a_python_that_is_new_enough(
    machine: Machine, pythons: dict[str, str], chosen: str
) -> None:
    for name, version in pythons.items():
        machine.add_python(name, version)
    assert machine.make_venv().returncode == 0
    assert f"{chosen} -m venv .venv" in machine.calls.read_text().splitlines()


def test_make_venv_passes_over_a_python_without_venv(machine: Machine) -> None:
    machine.add_python("python3.11", "3.11", venv=False)
    machine.add_python("python3", "3.12")
    assert machine.make_venv().returncode == 0
    assert "python3 -m venv .venv" in machine.calls.read_text().splitlines()


def test_make_venv_installs_locked_packages_and_then_the_project(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv()
    assert machine.installs() == [
        "--require-hashes --only-binary :all: -r requirements/build.txt",
        "--require-hashes --no-build-isolation --use-pep517 -r requirements/dev.txt",
        "--no-deps --no-build-isolation -e .",
    ]


def test_make_venv_does_nothing_when_nothing_changed(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv()
    machine.installs()
    assert machine.make_venv().returncode == 0
    assert machine.make_venv("demo").returncode == 0
    assert machine.installs() == []


def test_make_venv_adds_to_the_demo_what_the_tests_need(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv("demo")
    (machine.checkout / ".venv" / "kept").touch()
    machine.make_venv("dev")
    assert (machine.checkout / ".venv" / "kept").exists()
    assert any("-r requirements/dev.txt" in call for call in machine.installs())


@pytest.mark.parametrize("level", ["demo", "dev"])
def test_make_venv_starts_anew_when_a_lock_changed(machine: Machine, level: str) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv(level)
    (machine.checkout / ".venv" / "stale").touch()
    with (machine.checkout / "requirements" / f"{level}.txt").open("a") as lock:
        lock.write("# another release\n")
    machine.make_venv(level)
    assert not (machine.checkout / ".venv" / "stale").exists()


def test_make_venv_starts_anew_when_the_checkout_moved(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv()
    (machine.checkout / ".venv" / "stale").touch()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))
    machine.make_venv()
    assert not (machine.checkout / ".venv" / "stale").exists()


def test_make_venv_installs_the_project_alone_when_its_metadata_changed(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    machine.make_venv()
    machine.installs()
    with (machine.checkout / "pyproject.toml").open("a") as document:
        document.write("# another script\n")
    machine.make_venv()
    assert machine.installs() == ["--no-deps --no-build-isolation -e ."]


def test_make_venv_leaves_a_folder_alone_that_is_no_environment(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    (machine.checkout / ".venv").mkdir()
    (machine.checkout / ".venv" / "mine").touch()
    assert machine.make_venv().returncode == 1
    assert (machine.checkout / ".venv" / "mine").exists()
