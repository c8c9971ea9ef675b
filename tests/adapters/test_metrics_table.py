"""Holds the table of metrics against every name that the code uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agent.adapters.metrics.table import TABLE, Metric

AGENT: Final = Path(__file__).resolve().parents[2] / "agent"
KINDS: Final = {"count": "count", "gauge": "gauge", "observe": "observe", "observe_all": "observe"}

Use = tuple[str, str, str, tuple[str, ...]]
"""Where, which kind of metric, which name, which labels."""


def uses_in(file: Path) -> Iterator[Use]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        called_on = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if node.func.attr not in KINDS or not called_on.strip("_").endswith("metrics"):
            continue
        where = f"{file.relative_to(AGENT)}:{node.lineno}"
        name = node.args[0] if node.args else None
        assert isinstance(name, ast.Constant), f"{where}: a metric's name must be written out"
        assert all(keyword.arg for keyword in node.keywords), f"{where}: labels must be written out"
        yield where, KINDS[node.func.attr], str(name.value), tuple(sorted(str(k.arg) for k in node.keywords))


@pytest.fixture(scope="module")
def uses() -> list[Use]:
    return [use for file in sorted(AGENT.rglob("*.py")) for use in uses_in(file)]


def test_every_metric_in_use_is_declared_as_it_is_used(uses: list[Use]) -> None:
    declared = {(metric.kind, metric.name, tuple(sorted(metric.labels))) for metric in TABLE}
    strays = [use for use in uses if use[1:] not in declared]
    assert strays == []


def test_every_declared_metric_is_in_use(uses: list[Use]) -> None:
    assert {metric.name for metric in TABLE} - {name for _, _, name, _ in uses} == set()


def test_no_metric_is_declared_twice() -> None:
    names = [metric.name for metric in TABLE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_metric_is_named_and_described_as_prometheus_wants_it(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind == "count")
    assert metric.name.endswith("_seconds") == (metric.kind == "observe")
    assert list(metric.buckets) == sorted(metric.buckets)
    assert bool(metric.buckets) == (metric.kind == "observe")
    assert metric.help.endswith(".")
