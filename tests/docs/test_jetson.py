"""docs/jetson.md shows the matrix of the role's preflight, which follows from what the wheels ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tools.release.making import NO_GPU_WHEEL
from tools.release.targets import GLIBC

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENT: Final = (REPOSITORY / "docs" / "jetson.md").read_text(encoding="utf-8")
MATRIX: Final[list[dict[str, Any]]] = yaml.safe_load(
    (REPOSITORY / "deploy/ansible/roles/agent/vars/jetson.yml").read_text(encoding="utf-8")
)["nanofleet_jetson_matrix"]
COLUMNS: Final = (
    *("jetpack", "l4t", "boards", "os", "glibc", "python", "systemd", "how", "interpreter", "onnxruntime"),
    "tested",
)

each_row = pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"L4T {row['l4t']}")


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def as_line(row: dict[str, Any]) -> str:
    cells = [", ".join(row[name]) if isinstance(row[name], list) else str(row[name]) for name in COLUMNS]
    return f"| {' | '.join(cells)} |"


def test_document_shows_the_matrix_of_the_role() -> None:
    shown = re.search(r"^\| JetPack \|.*?\n\|[-:|]+\|\n(.*?)\n\n", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1].splitlines() == [as_line(row) for row in MATRIX]


def test_matrix_names_each_release_once() -> None:
    numbers = [row["l4t"] for row in MATRIX]
    assert numbers == sorted(set(numbers))


@each_row
def test_row_says_all_and_nothing_else(row: dict[str, Any]) -> None:
    assert set(row) == set(COLUMNS)
    assert row["how"] in {"native", "container"}
    assert row["tested"] == "never"
    assert set(row["onnxruntime"]) <= {"cpu", "wheel"}  # `gpu` is for x86-64


@each_row
def test_row_follows_from_glibc_and_python(row: dict[str, Any]) -> None:
    assert (row["how"] == "native") is (version(row["glibc"]) >= (2, GLIBC))
    own = version(row["python"]) >= (3, 11)
    assert row["interpreter"] == ("image" if row["how"] == "container" else "system" if own else "private")


def test_releases_send_whoever_wants_a_gpu_here() -> None:
    assert "docs/jetson.md" in NO_GPU_WHEEL
