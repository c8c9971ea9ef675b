"""What the package says of itself, and that its locks, documents and imports agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest

import agent

REPOSITORY: Final = Path(__file__).parent.parent
LOCKS: Final = {path.stem: path.read_text() for path in (REPOSITORY / "requirements").glob("*.txt")}
PIN: Final = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    document: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return document


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requirements}


def pins(lock: str) -> set[tuple[str, ...]]:
    return set(PIN.findall(LOCKS[lock]))


def test_installed_metadata_agrees_with_the_source() -> None:
    installed = metadata.metadata("nanofleet")
    assert installed["Version"] == agent.__version__
    assert installed["License-Expression"] == "Apache-2.0"
    assert installed["Requires-Python"] == ">=3.11"


def test_package_is_typed_and_carries_its_licence() -> None:
    assert (REPOSITORY / "agent" / "py.typed").exists()
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()


def test_wheel_carries_models_schemas_and_cards(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=50)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "agent"], cwd=REPOSITORY, check=True, capture_output=True, timeout=20
    )
    with zipfile.ZipFile(next(tmp_path.glob("nanofleet-*.whl"))) as wheel:
        carried = set(wheel.namelist())
    tracked = {name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).exists()}
    assert "agent/py.typed" in tracked
    assert tracked - carried == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_address_and_hash_every_package(lock: str) -> None:
    text = LOCKS[lock]
    assert "://" not in text
    assert not re.search(r"^\s*-", re.sub(r"^    --hash=", "", text, flags=re.MULTILINE), re.MULTILINE)
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize(("smaller", "larger"), [("run-cpu", "demo"), ("demo", "dev"), ("run-signed", "dev")])
def test_a_smaller_lock_is_part_of_the_larger(smaller: str, larger: str) -> None:
    assert pins(smaller) - pins(larger) == set()


def test_the_lock_for_gpus_differs_from_that_for_cpus_in_onnxruntime_alone() -> None:
    different = {pin[0] for pin in pins("run-gpu") ^ pins("run-cpu")}
    assert different == {"onnxruntime", "onnxruntime-gpu"}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("run-cpu", ["cpu"]),
        ("run-gpu", ["gpu"]),
        ("run-signed", ["signed"]),
        ("demo", ["cpu", "demo"]),
        ("dev", ["cpu", "demo", "dev"]),
    ],
)
def test_a_lock_holds_what_the_project_asks_for(
    project: dict[str, Any], lock: str, extras: list[str]
) -> None:
    optional = project["optional-dependencies"]
    asked = names(project["dependencies"]).union(*(names(optional[extra]) for extra in extras))
    assert asked - {pin[0] for pin in pins(lock)} == set()


def test_every_dependency_has_its_reason_in_the_documents(project: dict[str, Any]) -> None:
    document = (REPOSITORY / "docs" / "dependencies.md").read_text()
    optional = project["optional-dependencies"]
    asked = names(project["dependencies"]).union(
        *(names(optional[extra]) for extra in optional if extra != "dev")
    )
    assert {name for name in asked if f"`{name}`" not in document} == set()
    assert {extra for extra in optional if f"| `{extra}` |" not in document} == set()
