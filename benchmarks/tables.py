"""The figures for a person: what was reached, how it spread over the rounds, and what is wanted later."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.environment import Environment
from benchmarks.figures import PERCENTILES, Figure, Round, latencies_of, stages_of
from benchmarks.runs import RUNS, RunName

GOALS: Final = {
    "memory_frames_over_raw": "≥ 0.98",
    "agent_over_ultralytics": "≥ 1.35",
    "agent_over_ultralytics_same_graph": "≥ 1.15",
    "agent_own_shape_over_ultralytics": "≥ 2.0",
    "agent_over_raw_t2": "≥ 1.15",
    "one_lane_added_ms": "≤ 1.5",
    "letterbox_over_ultralytics": "≤ 0.35",
    "decode_over_ultralytics": "≤ 0.25",
    "four_cameras_over_ideal": "≥ 0.95",
    "eight_cameras_over_ideal": "≥ 0.90",
    "peak_mb_one_lane": "≤ 180",
    "peak_mb_all_lanes": "≤ 240",
    "peak_mb_four_cameras": "≤ 250",
    "fps_640x480": "≥ 12",
    "peak_mb_640x480": "< 180",
    "loop_lag_p99_ms": "≤ 5",
    "loop_lag_max_ms": "≤ 20",
    "box_error_px": "≤ 0.001",
    "confidence_error": "≤ 0.00001",
}
"""What is to be reached. Nothing is judged by it here."""

_SMALL: Final = 0.005


def print_tables(
    console: Console, figures: Sequence[Figure], rounds: Sequence[Round], environment: Environment
) -> None:
    """Everything that `--json` writes, with the spread over the rounds."""
    console.print(environment_table(environment))
    console.print(figures_table(figures, GOALS))
    latencies = {figure.name: figure.value for figure in latencies_of(rounds)}
    for run in RUNS:
        console.print(f"Latency in ms: {RUNS[run].caption}", style="italic")
        console.print(_latencies(run, stages_of(rounds, run), latencies))


def environment_table(environment: Environment) -> Table:
    """Where it was measured."""
    table = Table(show_header=False, box=None)
    for key, value in environment.items():
        table.add_row(key, str(value))
    return table


def figures_table(figures: Sequence[Figure], goals: Mapping[str, str]) -> Table:
    """The figures with their spread, beside their goals."""
    table = Table(title="Figures", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("least … most of a round", justify="right")
    table.add_column("goal")
    for figure in figures:
        spread = f"{_short(min(figure.per_round))} … {_short(max(figure.per_round))}"
        table.add_row(figure.name, _short(figure.value), figure.unit, spread, goals.get(figure.name, ""))
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
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= _SMALL else f"{value:.1e}"
