"""The choice of lanes, from figures of which the best is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.adapters.onnx.session import sha256_of
from agent.serving.tuning import Machine
from agent.workbench.bench.child import Measured
from agent.workbench.bench.rounds import Bench, Figures, Subject
from agent.workbench.bench.setup import Setup
from agent.workbench.bench.tune import decide, tuned_setups

ONE = Setup(lanes=1, threads=2)
CALM = replace(ONE, spinning=False)
TWO = Setup(lanes=2, threads=1)
LEAN = replace(TWO, arena=False)


def figures(setup: Setup, *, per_second: float, ms: float, mb: float = 100.0) -> Figures:
    stage = {"p50": ms, "p95": ms * 1.2, "p99": ms * 1.3, "max": ms * 2}
    return Figures(
        setup, 3, Measured(9, per_second, dict.fromkeys(("feed", "run", "decode", "all"), stage), mb, 60)
    )


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"any bytes have a hash")
    return Subject(path)


def measured(*more: Figures) -> Bench:
    return Bench(
        (
            figures(ONE, per_second=23, ms=43),
            figures(CALM, per_second=20, ms=50),
            figures(TWO, per_second=27, ms=74),
            figures(replace(ONE, busy=1), per_second=10.7, ms=94),
            figures(replace(CALM, busy=1), per_second=16.8, ms=60),
            figures(replace(TWO, busy=1), per_second=18.4, ms=108),
            *more,
        ),
        (),
    )


def test_one_camera_gets_the_least_latency_and_many_the_most_throughput(subject: Subject) -> None:
    tuning = decide(measured(), subject, latency_ms=None)
    assert (tuning.alone.lanes, tuning.alone.threads, tuning.alone.spinning) == (1, 2, True)
    assert (tuning.many.lanes, tuning.many.threads) == (2, 1)
    assert tuning.model_sha256 == sha256_of(subject.path)
    assert tuning.machine == Machine.here()
    assert len(tuning.figures) == 6


def test_bound_on_latency_rules_out_what_is_slower(subject: Subject) -> None:
    many = decide(measured(), subject, latency_ms=100).many
    assert (many.lanes, many.spinning) == (1, False)


def test_bound_that_nothing_keeps_leaves_the_least_latency(subject: Subject) -> None:
    many = decide(measured(), subject, latency_ms=1).many
    assert (many.lanes, many.spinning) == (1, False)


@pytest.mark.parametrize(("per_second", "arena"), [(18.0, False), (17.0, True)])
def test_less_memory_wins_where_throughput_is_the_same(
    subject: Subject, per_second: float, arena: bool
) -> None:
    lean = figures(replace(LEAN, busy=1), per_second=per_second, ms=108, mb=80)
    assert decide(measured(lean), subject, latency_ms=None).many.arena is arena


def test_all_ways_are_tried_alone_and_in_company() -> None:
    setups = tuned_setups(2)
    assert {replace(setup, busy=0) for setup in setups if setup.busy} == {s for s in setups if not s.busy}
