"""`nanofleet model export`: a trainer's checkpoint as an ONNX file that is known to find the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import JsonOption, read_shape
from agent.cli.model.verify import show_verification, spinner


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint of Ultralytics (.pt).", metavar="CHECKPOINT")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The ONNX file to make.", metavar="FILE")],
    size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH of the input. Default: what it was trained at.", metavar="HxW"),
    ] = None,
    dynamic: Annotated[bool, typer.Option(help="Let the file take any batch and size.")] = True,
    opset: Annotated[
        int | None, typer.Option(min=11, help="ONNX opset. Default: the exporter's choice.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Half precision; widen the tolerances for it.")
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures or folders to compare on, repeatable. Default: four rendered ones."),
    ] = None,
    score_within: Annotated[float, typer.Option(min=0, help="Most that a confidence may differ.")] = 1e-4,
    top_within: Annotated[
        float, typer.Option(min=0, help="Most that the three strongest may differ, relative.")
    ] = 1e-3,
    box_within: Annotated[
        float, typer.Option(min=0, help="Most that a box's corner may be off, in pixels.")
    ] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint with its trainer's own exporter, check the result, and only then put it in place.

    Needs the extra `export` (Ultralytics and torch, some GB: best an environment of its own). A checkpoint is
    a pickle: opening it runs what it holds, so export only your own.
    Exit codes: 0, 1 when the file would find something else than the checkpoint (none is made then) or when
    a file cannot be used.
    """
    from agent.vision.agreement import Tolerance

    sides = None if size is None else read_shape(size)
    if isinstance(sides, str):
        raise typer.BadParameter(f"{size!r}; HEIGHTxWIDTH is wanted, such as 384x640", param_hint="--size")
    with told("export"):
        from agent.cli.output_file import need_writable
        from agent.workbench.checkpoints import ExportOptions
        from agent.workbench.exporting import export_model
        from agent.workbench.pictures import collect

        need_writable(out, option="--out")
        pictures = collect(images or [])
        with spinner("exporting") as tell:
            made = export_model(
                checkpoint,
                out,
                options=ExportOptions(size=sides, dynamic=dynamic, opset=opset, half=half),
                pictures=pictures,
                confidence=0.25,
                iou=0.45,
                tolerance=Tolerance(score=score_within, top=top_within, box_px=box_within),
                progress=tell,
            )
        verification = made.verification
    if as_json:
        place = str(made.file) if verification.agrees else None
        typer.echo(
            json.dumps({"file": place, "bytes": made.size_bytes, "verification": verification.as_json()})
        )
    else:
        show_verification(verification)
        if verification.agrees:
            typer.echo(f"{made.file}: {made.size_bytes / 2**20:.1f} MB, verified")
    if not verification.agrees:
        complain("export", f"{out} was not made: {verification.why_not}")
        raise typer.Exit(1)
