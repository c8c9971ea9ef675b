"""The figures for a person: what was reached, how it spread over the rounds, and what is wanted later."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.environment import Environment
from benchmarks.figures import PERCENTILES, RUNS, Figure, Round, RunName, latencies_of, stages_of

GOALS: Final = {
    "memory_frames_over_raw": "≥ 0.98",
    "agent_over_raw_t2": "≥ 1.15",
    "one_lane_added_ms": "≤ 1.5",
    "peak_mb_one_lane": "≤ 180",
    "peak_mb_all_lanes": "≤ 240",
    "loop_lag_p99_ms": "≤ 5",
    "loop_lag_max_ms": "≤ 20",
}
"""What the inference engine has to reach. Nothing is judged by it here."""

_CAPTIONS: Final[dict[RunName, str]] = {
    "one_lane": "one lane with all cores, video read as fast as it is inferred",
    "all_lanes": "a lane on each core, video read as fast as it is inferred",
    "camera": "one lane with all cores, video by its own clock",
}


def print_tables(
    console: Console, figures: Sequence[Figure], rounds: Sequence[Round], environment: Environment
) -> None:
    """Everything that `--json` writes, with the spread over the rounds."""
    console.print(_environment(environment))
    console.print(_figures(figures))
    latencies = {figure.name: figure.value for figure in latencies_of(rounds)}
    for run in RUNS:
        console.print(f"Latency in ms: {_CAPTIONS[run]}", style="italic")
        console.print(_latencies(run, stages_of(rounds, run), latencies))


def _environment(environment: Environment) -> Table:
    table = Table(show_header=False, box=None)
    for key, value in environment.items():
        table.add_row(key, str(value))
    return table


def _figures(figures: Sequence[Figure]) -> Table:
    table = Table(title="Figures", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("least … most of a round", justify="right")
    table.add_column("goal of a later issue")
    for figure in figures:
        spread = f"{_short(min(figure.per_round))} … {_short(max(figure.per_round))}"
        table.add_row(figure.name, _short(figure.value), figure.unit, spread, GOALS.get(figure.name, ""))
    return table


def _latencies(run: RunName, stages: Sequence[str], values: dict[str, float]) -> Table:
    table = Table()
    table.add_column("stage")
    for percentile in PERCENTILES:
        table.add_column(percentile, justify="right")
    for stage in stages:
        table.add_row(stage, *_row(run, stage, values))
    return table


def _row(run: RunName, stage: str, values: dict[str, float]) -> Iterator[str]:
    return (f"{values[f'{run}_{stage}_{percentile}_ms']:.2f}" for percentile in PERCENTILES)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3f}"
