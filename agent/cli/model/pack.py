"""`nanofleet model pack`: a model with what is golden of it, as one file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.cli.model.complaints import told
from agent.cli.model.options import JsonOption, ShapeOption, read_shape

if TYPE_CHECKING:
    from agent.workbench.packing import Packed


def pack(
    model: Annotated[Path, typer.Argument(help="The ONNX file.", metavar="MODEL")],
    *,
    out: Annotated[
        Path, typer.Option(help="The package: a zip if it ends in .zip, else a new folder.", metavar="PKG")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Golden pictures or folders of them, repeatable, with objects that the model knows. "
            "Default: four rendered ones."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="The model at fp32, for one of fp16 or int8: what it finds is golden.", metavar="ONNX"
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Of the weights, as the file stores them. Default: fp32."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the file's.")] = None,
    version: Annotated[
        str | None, typer.Option("--model-version", help="Default: what the file's metadata says.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="As SPDX names it, e.g. AGPL-3.0. Default: what the file's metadata says."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it finds, and for whom.")] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="A model.yaml to begin with, for all that has no option here.", metavar="FILE"),
    ] = None,
    shape: ShapeOption = "file",
    as_json: JsonOption = False,
) -> None:
    """Make a model package: the model, model.yaml, and golden inputs with what comes out of them here.

    The model runs on this machine's CPU at fp32. A node takes the package for `models.NAME.file` of its
    policy, and admits it only if the same comes out there. Before anything is written the package is admitted
    here: an int8 model that finds something else than its --reference is refused.
    Exit codes: 0, 1 when a file cannot be used or the package is not admitted, 78 without ONNX Runtime.
    """
    from agent.cli.model.verify import spinner

    size = read_shape(shape)
    with told("pack"), spinner("packing") as tell:
        from agent.workbench.packing import pack as make

        stated = {
            "name": name,
            "version": version,
            "licence": licence,
            "description": description,
            "precision": precision,
        }
        packed = make(
            model,
            out=out,
            said={
                "name": re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-")[:32],
                **_read(card),
                **{key: value for key, value in stated.items() if value is not None},
            },
            images=images or [],
            reference=reference,
            shape=size,
            on_step=tell,
        )
    typer.echo(json.dumps(_plain(packed)) if as_json else _told(packed))


def _read(card: Path | None) -> dict[str, Any]:
    from agent.adapters.models.writing import read_said

    return {} if card is None else read_said(card)


def _told(packed: Packed) -> str:
    return f"{packed.file}: {packed.passed}\nfile: {packed.file.name}\nsha256: {packed.sha256}"


def _plain(packed: Packed) -> dict[str, Any]:
    passed = packed.passed
    return {
        "file": str(packed.file),
        "sha256": packed.sha256,
        "goldens": packed.goldens,
        "objects": packed.objects,
        "box_px": passed.box_px,
        "confidence": passed.confidence,
        "output": passed.output,
        "score": passed.score,
        "seconds": round(passed.seconds, 3),
    }
