"""`nanofleet detect`: what a model finds in pictures and clips, without a broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.model.options import ProviderOption, ShapeOption, ThreadsOption, read_shape
from agent.domain.errors import ConfigError, NanofleetError
from agent.domain.thresholds import Thresholds

if TYPE_CHECKING:
    from agent.cli.findings import Findings
    from agent.ports import DetectorModel
    from agent.workbench.shots import Shot


def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures and clips.")],
    *,
    model: Annotated[Path, typer.Option("--model", "-m", help="A detector or pose model, an ONNX file.")],
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Least confidence.")] = 0.25,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Overlap above which the weaker box goes.")] = 0.45,
    as_json: Annotated[
        bool, typer.Option("--json", help="On stdout one compact JSON line a picture, and nothing else.")
    ] = False,
    frames: Annotated[
        str | None,
        typer.Option(help="Frames of clips, such as 0,100: from 0, in decode order. Default: every frame."),
    ] = None,
    shape: ShapeOption = "file",
    save: Annotated[Path | None, typer.Option(help="A folder for copies with what was found.")] = None,
    provider: ProviderOption = "cpu",
    threads: ThreadsOption = None,
) -> None:
    """Show what a model finds in pictures and clips.

    A file that cannot be read is told on stderr; the others are still done.
    A provider that cannot be had is told on stderr, and the CPU runs the model instead.
    Exit codes: 0, 1 when a file or the model could not be used, 78 when there is no such provider.
    """
    from agent.adapters.logs.configure import configure_logging
    from agent.adapters.logs.scrub import Scrubber
    from agent.cli.findings import Drawings, JsonLines, Table
    from agent.workbench.opening import open_detector

    # Standard output belongs to the results.
    configure_logging(stream=sys.stderr, scrubber=Scrubber())
    wanted, size = _frames(frames), read_shape(shape)
    try:
        detector = open_detector(model, shape=size, provider=provider, threads=threads, falls_back=True)
        findings: list[Findings] = [JsonLines() if as_json else Table()]
        if save is not None:
            findings.append(Drawings(save))
    except NanofleetError as error:
        _complain(error.message)
        raise typer.Exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1) from error
    thresholds = Thresholds(confidence=confidence, iou=iou)
    failed = False
    for path in images:
        try:
            _look_at(path, wanted, detector, thresholds=thresholds, findings=findings)
        except NanofleetError as error:
            _complain(f"{path}: {error.message}")
            failed = True
    for one in findings:
        one.finish()
    if failed:
        raise typer.Exit(1)


def _look_at(
    path: Path,
    frames: frozenset[int] | None,
    detector: DetectorModel,
    *,
    thresholds: Thresholds,
    findings: list[Findings],
) -> None:
    from agent.ports import Look

    for shot in _shots(path, frames):
        (found,), _ = detector.detect([Look(shot.pixels, thresholds)])
        for one in findings:
            one.add(shot, found, detector.facts.class_names)


def _shots(path: Path, frames: frozenset[int] | None) -> Iterator[Shot]:
    from agent.workbench.shots import is_picture, read_clip, read_picture

    if is_picture(path):
        yield read_picture(path)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(str(path), total=None)
        for shot in read_clip(path, frames):
            progress.update(task, description=f"{path} frame {shot.frame}")
            yield shot


def _frames(text: str | None) -> frozenset[int] | None:
    if text is None:
        return None
    try:
        numbers = frozenset(int(part) for part in text.split(","))
    except ValueError:
        numbers = frozenset({-1})
    if min(numbers) < 0:
        raise typer.BadParameter(f"{text!r}; numbers from 0 are wanted, such as 0,100", param_hint="--frames")
    return numbers


def _complain(message: str) -> None:
    print(f"nanofleet detect: {message}", file=sys.stderr)
