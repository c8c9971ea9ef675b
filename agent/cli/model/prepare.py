"""`nanofleet model prepare`: a faster graph that finds the same, proven before it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.adapters import lifeline
from agent.cli.model.complaints import told
from agent.cli.model.options import JsonOption

if TYPE_CHECKING:
    from agent.workbench.graph.prepare import Prepared


def prepare(
    model: Annotated[Path, typer.Argument(help="A detector or pose model, an ONNX file.", metavar="MODEL")],
    *,
    rewrite: Annotated[
        Literal["exact", "cut"],
        typer.Option(help="exact: equal bit for bit; cut: to 1e-3 px and 1e-5, faster; else exact."),
    ] = "cut",
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Default: MODEL-prepared.onnx beside it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model's graph anew so that it runs faster on a CPU, and prove that it finds the same.

    The agent does the same by itself when a policy's model says rewrite: exact or cut; this is for nodes
    that are not to have the package onnx. The written file goes into a policy as any other model.
    Exit codes: 0 (also when there is nothing to rewrite: then no file is written, and why is said), 1 when
    the model or the file cannot be used, 78 when the extra `models` is not installed.
    """
    lifeline.end_with_parent()
    target = out or model.with_name(f"{model.stem}-prepared.onnx")
    with told("prepare"):
        from agent.cli.output_file import need_writable
        from agent.workbench.graph.prepare import prepare as prepare_model

        need_writable(target, option="--out")
        with _progress(as_json) as tell:
            prepared = prepare_model(model, rewrite=rewrite, out=target, on_step=tell)
    if as_json:
        typer.echo(json.dumps(prepared.as_json()))
    else:
        _show(prepared, model)


def _show(prepared: Prepared, model: Path) -> None:
    for reason in prepared.reasons:
        typer.echo(f"not {reason}")
    if prepared.file is None:
        typer.echo(f"{model.name} is served as it was exported; no file was written")
        return
    for proof in prepared.proofs:
        found = f", {proof.found} found" if proof.found else ""
        typer.echo(
            f"proven on {proof.pictures} pictures, {proof.boxes} boxes{found}: "
            f"{proof.box_error_px:.1e} px, confidence {proof.confidence_error:.1e}"
        )
    typer.echo(f"{prepared.file} ({prepared.graph}), SHA-256 {prepared.sha256}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=None)
        yield lambda step: progress.update(task, description=step)
