"""`nanofleet model inspect`: what a model is, how it is fed, what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import JsonOption, ProviderOption, ShapeOption, ThreadsOption, read_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.workbench.graph_cost import GraphCost
    from agent.workbench.inspection import Inspection, Serving

_SHOWN_NAMES = 6
_SHOWN_LETTERS = 100
_MIB = 1024 * 1024


def inspect(
    model: Annotated[Path, typer.Argument(help="An ONNX file.", metavar="MODEL")],
    *,
    image: Annotated[Path | None, typer.Option(help="A picture to try it on; draw with --save.")] = None,
    save: Annotated[Path | None, typer.Option(help="Where to write that picture with what is found.")] = None,
    shape: ShapeOption = "file",
    provider: ProviderOption = "cpu",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a model is, how the agent feeds and decodes it, and what one run costs.

    Parameters and operations are counted from the graph (with the extra `models`), memory and time are
    measured in a process of their own. Exit codes: 0, 1 when nothing here decodes the file (why, and what
    would), 78 when the provider cannot be had.
    """
    size = read_shape(shape)
    if (image is None) != (save is None):
        raise typer.BadParameter("--image and --save go together: what to look at, and where to draw it")
    with told("inspect"):
        from agent.workbench.inspection import inspect_model

        found = inspect_model(model, shape=size, provider=provider, threads=threads)
        if image is not None and save is not None and found.serving is not None:
            _draw(model, image, save, shape=size, provider=provider)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _show(found)
    if found.refusal is not None:
        complain("inspect", found.refusal)
        raise typer.Exit(1)


def _draw(model: Path, image: Path, save: Path, *, shape: Any, provider: str) -> None:
    import cv2

    from agent.cli.output_file import need_writable
    from agent.domain.errors import Code, RefusedError
    from agent.domain.thresholds import Thresholds
    from agent.ports import Look
    from agent.vision.drawing import draw
    from agent.workbench.opening import open_detector
    from agent.workbench.pictures import read_one

    if save.suffix not in {".jpg", ".png"}:
        raise RefusedError(f"--save: {save.name} should end in .jpg or .png", code=Code.FILE)
    need_writable(save, option="--save")
    detector = open_detector(model, shape=shape, provider=provider)
    pixels = read_one(image)
    (found,), _ = detector.detect([Look(pixels, Thresholds())])
    _, data = cv2.imencode(save.suffix, draw(pixels, found, detector.facts.class_names))
    try:
        save.write_bytes(data.tobytes())
    except OSError as error:
        raise RefusedError(f"--save: {save} cannot be written: {error.strerror}", code=Code.FILE) from error


def _show(found: Inspection) -> None:
    from rich.console import Console, Group
    from rich.markup import escape
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, escape(value))
    Console().print(
        Panel(
            Group(table),
            title=escape(found.file.path.name),
            border_style="red" if found.refusal else "green",
            expand=False,
        )
    )


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    file = found.file
    yield "file", f"{file.size_bytes / _MIB:.1f} MB, SHA-256 {file.sha256}"
    if found.serving is not None:
        yield from _serving_rows(found.serving)
    yield "inputs", "\n".join(map(str, file.inputs))
    yield "outputs", "\n".join(map(str, file.outputs))
    yield from _cost_rows(found)
    said = "\n".join(f"{key}: {_short(value)}" for key, value in sorted(file.metadata.items()))
    yield "metadata", said or "none"


def _serving_rows(serving: Serving) -> Iterator[tuple[str, str]]:
    facts = serving.facts
    yield "task", f"{facts.task}, decoded as {serving.head}"
    names = list(facts.class_names.values())
    if names:
        more = f" … ({len(names)} classes)" if len(names) > _SHOWN_NAMES else ""
        yield "classes", ", ".join(names[:_SHOWN_NAMES]) + more
    yield "version", facts.version
    yield "provider", facts.provider_used
    if serving.size is not None:
        yield "input size", f"{serving.size.height_px}x{serving.size.width_px} for a picture of 720x1280"
    fed = (f"{key} {_plain(value)}" for key, value in serving.feeding.items() if value is not None)
    yield "fed with", ", ".join(fed)
    if serving.decoded_outputs:
        yield "reads", ", ".join(serving.decoded_outputs)


def _cost_rows(found: Inspection) -> Iterator[tuple[str, str]]:
    cost, trial = found.cost, found.trial
    if cost is None:
        yield "cost", "not counted: that needs nanofleet with the extra `models`"
    else:
        yield "parameters", f"{cost.parameters:,} ({cost.precision})"
        yield "operations", _operations(cost)
        yield "graph", f"{cost.operators} operators, opset {cost.opset}, by {cost.producer or 'unknown'}"
    if trial is not None:
        threads = "1 thread" if trial.threads == 1 else f"{trial.threads} threads"
        yield "a run", f"{trial.median_ms:.1f} ms (median of {trial.runs}, {threads})"
        model_mb = trial.peak_mb - trial.libraries_mb
        yield "memory", f"{trial.peak_mb:.0f} MB at most, {model_mb:.0f} MB of it for the model and its run"


def _operations(cost: GraphCost) -> str:
    if cost.macs is None or cost.gflops is None:
        return "not counted: some shapes are known only when it runs"
    return f"{cost.gflops:.4g} GFLOPs a run ({cost.macs / 1e6:,.4g} M multiply-adds)"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else f"{value}"
