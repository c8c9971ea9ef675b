"""Which lanes are best for one camera and for many, by what was measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.adapters.onnx.session import sha256_of
from agent.serving.tuning import Figure, Lanes, Machine, Tuning
from agent.workbench.bench.setup import Setup, beside, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.workbench.bench.rounds import Bench, Figures, Subject

WITHIN: Final = 0.03
"""What differs by less is noise: then fewer MB win."""

SLOWER: Final = 3.0
"""Without a bound on latency, a call may take so many times the quickest one's."""


def tuned_setups(cores: int) -> list[Setup]:
    """What has to be measured to decide: every way by itself, and beside a busy process."""
    setups = ways(cores)
    return [*setups, *beside(setups)]


def decide(bench: Bench, subject: Subject, *, latency_ms: float | None) -> Tuning:
    """The lanes of least latency by themselves for one camera; of most throughput beside other work for many.

    Latency is the p50 of one call, feeding and decoding included. Of what shares the cores, only what
    keeps its p95 within `latency_ms` counts (None: SLOWER times the least one); if nothing does, the least.
    """
    by_itself = [one for one in bench.figures if not one.setup.busy]
    shared = [one for one in bench.figures if one.setup.busy]
    least = min(_p95(one) for one in shared)
    bound = latency_ms if latency_ms is not None else SLOWER * least
    within = [one for one in shared if _p95(one) <= bound] or [one for one in shared if _p95(one) == least]
    return Tuning(
        model_sha256=sha256_of(subject.path),
        provider=subject.provider,
        machine=Machine.here(),
        alone=_lanes(_best(by_itself, lambda one: 1 / one.measured.stage_ms["all"]["p50"])),
        many=_lanes(_best(within, lambda one: one.measured.per_second)),
        rule=f"alone: least p50 of a call; many: most calls a second beside a busy process with a p95 of at "
        f"most {bound:.1f} ms; within {WITHIN:.0%} the least memory",
        figures=tuple(
            Figure(
                setup=str(one.setup),
                per_second=one.measured.per_second,
                all_p50_ms=one.measured.stage_ms["all"]["p50"],
                all_p95_ms=_p95(one),
                peak_mb=one.measured.peak_mb,
            )
            for one in bench.figures
        ),
    )


def _best(figures: Sequence[Figures], merit: Callable[[Figures], float]) -> Figures:
    most = max(map(merit, figures))
    return min(
        (one for one in figures if merit(one) >= most * (1 - WITHIN)), key=lambda one: one.measured.peak_mb
    )


def _p95(figures: Figures) -> float:
    return figures.measured.stage_ms["all"]["p95"]


def _lanes(figures: Figures) -> Lanes:
    setup = figures.setup
    return Lanes(lanes=setup.lanes, threads=setup.threads, spinning=setup.spinning, arena=setup.arena)
