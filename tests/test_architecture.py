"""The rings of the design, held by import-linter, and the lists that its contracts are made of."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import grimp
import pytest

REPOSITORY: Final = Path(__file__).parent.parent

MAY_USE: Final = {
    "domain": {"numpy"},
    "ports": {"numpy"},
    "vision": {"numpy", "cv2"},
    "pipeline": {"numpy", "structlog"},
    "contract": {"numpy", "pydantic", "pydantic_core", "ulid", "yaml"},
}
"""Third-party packages a ring may use. import-linter can only forbid, so the rest is what it forbids."""

MAY_IMPORT: Final = {
    "settings": {"contract", "domain"},
    "workbench": {"adapters", "ports", "serving.tuning", "vision", "domain"},
    "fleet": {
        *("adapters.mqtt", "adapters.system.clock", "contract", "domain", "ports"),
        *("settings.broker", "settings.loading", "settings.paths", "settings.toml_text"),
    },
}
"""What of ours a ring may import, where the order of the rings alone would allow more."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("agent", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def contracts() -> list[dict[str, Any]]:
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = document["tool"]["importlinter"]["contracts"]
    return found


def modules_of(graph: grimp.ImportGraph, ring: str) -> set[str]:
    package = f"agent.{ring}"
    return {name for name in graph.modules if name == package or name.startswith(f"{package}.")}


def third_party(graph: grimp.ImportGraph) -> set[str]:
    return {
        name
        for name in graph.modules
        if not name.startswith("agent") and name not in sys.stdlib_module_names and name != "__future__"
    }


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("ring", MAY_USE)
def test_a_ring_uses_only_the_packages_it_may(graph: grimp.ImportGraph, ring: str) -> None:
    packages = third_party(graph)
    used = {
        (module, imported)
        for module in modules_of(graph, ring)
        for imported in graph.find_modules_directly_imported_by(module) & packages
    }
    assert {pair for pair in used if pair[1] not in MAY_USE[ring]} == set()


@pytest.mark.parametrize("ring", MAY_USE)
def test_contracts_forbid_every_package_that_a_ring_may_not_use(
    graph: grimp.ImportGraph, contracts: list[dict[str, Any]], ring: str
) -> None:
    forbidden = {
        name
        for contract in contracts
        if contract.get("source_modules") == [f"agent.{ring}"]
        for name in contract["forbidden_modules"]
    }
    assert third_party(graph) - MAY_USE[ring] - forbidden == set()


@pytest.mark.parametrize("ring", MAY_IMPORT)
def test_a_ring_imports_only_the_rings_it_may(graph: grimp.ImportGraph, ring: str) -> None:
    allowed = [f"agent.{name}" for name in (*MAY_IMPORT[ring], ring)]
    strays = {
        (module, imported)
        for module in modules_of(graph, ring)
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.startswith("agent.")
        and not any(imported == name or imported.startswith(f"{name}.") for name in allowed)
    }
    assert strays == set()
