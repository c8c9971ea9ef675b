"""`nanofleet model eval`: how good a model is on pictures whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import JsonOption, ProviderOption, ShapeOption, ThreadsOption, read_shape

if TYPE_CHECKING:
    from agent.workbench.evaluation import Evaluation

_SHOWN_PROBLEMS = 5


def evaluate(
    model: Annotated[Path, typer.Argument(help="A detector, an ONNX file.", metavar="MODEL")],
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A folder in COCO's form (instances JSON and pictures) or YOLO's (data.yaml), or that file.",
            metavar="DATASET",
        ),
    ],
    *,
    split: Annotated[
        str | None, typer.Option(help="Which of a YOLO dataset. Default: val, else test, else train.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="A class the dataset calls otherwise: DATASET=MODEL; DATASET=- leaves it out. Repeatable.",
            metavar="DATASET=MODEL",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw precision over recall as a PNG.", metavar="FILE")
    ] = None,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Overlap above which the weaker box goes.")] = 0.45,
    shape: ShapeOption = "file",
    provider: ProviderOption = "cpu",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure COCO's average precision of a model on a dataset, for each class. Needs the extra `eval`.

    Pictures and labels that are damaged are told and left out. Classes are matched by name. Beside the
    precision stands the confidence threshold at which each class does best, for the policy.
    Exit codes: 0, 1 when the model, the dataset or nothing of it can be used, 78 when the provider cannot be
    had.
    """
    size = read_shape(shape)
    renamed = _renamed(classes or [])
    with told("eval"):
        from agent.cli.output_file import need_writable
        from agent.workbench.average_precision import need_library
        from agent.workbench.datasets.reading import read_dataset
        from agent.workbench.evaluation import evaluate_model
        from agent.workbench.opening import open_detector
        from agent.workbench.precision_recall import draw_precision_recall, need_matplotlib

        need_library()
        if plot is not None:
            need_matplotlib()
            need_writable(plot, option="--plot")
        detector = open_detector(model, shape=size, provider=provider, threads=threads)
        read = read_dataset(dataset, split=split)
        with _bar(len(read.samples)) as tell:
            result = evaluate_model(detector, read, renamed=renamed, iou=iou, progress=tell)
        if plot is not None:
            draw_precision_recall(result.figures, plot, title=f"{model.name} on {dataset.name}")
    for problem in result.problems[:_SHOWN_PROBLEMS]:
        complain("eval", f"left out: {problem}")
    if len(result.problems) > _SHOWN_PROBLEMS:
        complain("eval", f"left out: {len(result.problems)} things in all; --json lists them")
    if as_json:
        typer.echo(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        _show(result)


def _renamed(pairs: list[str]) -> dict[str, str]:
    renamed = {}
    for pair in pairs:
        name, equals, wanted = pair.rpartition("=")
        if not (name and equals and wanted):
            raise typer.BadParameter(f"{pair!r}; DATASET=MODEL is wanted", param_hint="--class")
        renamed[name] = wanted
    return renamed


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=total)
        yield lambda done: bar.update(task, completed=done)


def _show(result: Evaluation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    figures = result.figures
    table = Table(title=f"{figures.pictures} pictures, {figures.objects} objects", show_footer=True)
    table.add_column("class", footer="mean")
    table.add_column("objects", justify="right")
    for title, mean in (
        ("AP50", figures.map50),
        ("AP50-95", figures.map50_95),
        ("recall", figures.recall),
    ):
        table.add_column(title, justify="right", footer=_figure(mean))
    table.add_column("best F1", justify="right")
    table.add_column("at confidence", justify="right")
    for one in figures.classes:
        numbers = (one.ap50, one.ap50_95, one.recall, one.best_f1, one.best_confidence)
        table.add_row(escape(one.name), str(one.objects), *map(_figure, numbers))
    Console().print(table)
    if result.unseen:
        Console().print(escape(f"not in the dataset, not counted: {', '.join(result.unseen)}"))


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
