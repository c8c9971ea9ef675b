"""`nanofleet model check-windows`: what a model of sensor windows lacks, and how it scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import JsonOption

if TYPE_CHECKING:
    from agent.workbench.window_check import WindowCheck

_MOST_FALSE_ALARMS = 0.01


def check_windows(
    model: Annotated[Path, typer.Argument(help="An ONNX file for sensor windows.", metavar="MODEL")],
    *,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="Normal samples: a column for each channel under its name, a row each, the oldest first. "
            "Default: the simulated vibration sensor, for models of x, y, z.",
            metavar="FILE",
        ),
    ] = None,
    windows: Annotated[
        int | None, typer.Option(min=1, help="How many windows. Default: all of the file, or 400 simulated.")
    ] = None,
    most: Annotated[
        float, typer.Option("--most", min=0, max=1, help="Largest share of false alarms that passes.")
    ] = _MOST_FALSE_ALARMS,
    as_json: JsonOption = False,
) -> None:
    """Check a model of sensor windows: what its metadata lacks, and how it scores normal windows.

    The convention is docs/reference/anomaly-models.md. Exit codes: 0, 1 when the file cannot serve or more
    false alarms come than `--most`.
    """
    with told("check-windows"):
        from agent.workbench.window_check import check_windows as check

        with _bar() as tell:
            found = check(model, csv=csv, count=windows, progress=tell)
    if as_json:
        typer.echo(json.dumps({"ok": _passes(found, most), **found.as_json()}, ensure_ascii=False))
    for problem in found.problems:
        complain("check-windows", problem)
    if not as_json and found.scores is not None:
        _show(model.name, found)
    if not _passes(found, most):
        if found.scores is not None:
            share = found.scores.false_alarms
            complain(
                "check-windows",
                f"{share:.1%} of the normal windows are above the threshold, more than {most:.1%}: "
                f"a threshold of {_above(found.scores.percentiles['most']):.4g} would be above them all",
            )
        raise typer.Exit(1)


def _passes(found: WindowCheck, most: float) -> bool:
    return found.scores is not None and found.scores.false_alarms <= most


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(name: str, found: WindowCheck) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.panel import Panel
    from rich.table import Table

    model, scores = found.model, found.scores
    if model is None or scores is None:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "kind": model.kind,
        "window": f"{model.window} samples of {', '.join(model.channels)} at {model.rate_hz:g} Hz, "
        f"a new one every {model.hop}",
        "normalisation": model.normalisation,
        "normal windows": f"{scores.windows} of {scores.source}",
        "scores": "  ".join(f"{name} {value:.4g}" for name, value in scores.percentiles.items()),
        "threshold": f"{model.threshold:.4g}",
        "false alarms": f"{scores.false_alarms:.2%}",
    }
    if found.faults_told is not None:
        rows["faults told"] = f"{found.faults_told:.1%} of as many simulated faulty windows"
    rows["a run"] = f"{scores.run_ms:.3f} ms (median, 1 thread)"
    for key, value in rows.items():
        table.add_row(key, escape(value))
    Console().print(Panel(table, title=escape(name), expand=False))


def _above(score: float) -> float:
    """The least number of four digits that is not below `score`."""
    if score == 0:
        return score
    step = 10.0 ** (math.floor(math.log10(abs(score))) - 3)
    return math.ceil(score / step) * step
