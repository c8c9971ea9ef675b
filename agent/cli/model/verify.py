"""`nanofleet model verify`: whether a model finds here what its reference found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import JsonOption, ProviderOption, ShapeOption, ThreadsOption, read_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.adapters.onnx.input_shape import Shape
    from agent.vision.agreement import Tolerance
    from agent.workbench.golden import Expected
    from agent.workbench.verification import Verification


def verify(
    model: Annotated[
        Path, typer.Argument(help="The ONNX file to check, or a model package.", metavar="MODEL")
    ],
    *,
    golden: Annotated[
        Path | None, typer.Option(help="Golden results: .json or .npz.", metavar="FILE")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="unoptimised, opencv or onnx (another runtime for the same file), another ONNX file, or a "
            "trainer's checkpoint (.pt; extra `export`).",
            metavar="RUNTIME|FILE",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures or folders of them, repeatable. Default: four rendered ones."),
    ] = None,
    write_golden: Annotated[
        Path | None,
        typer.Option(help="Keep what it finds as golden results (.npz), if it passed.", metavar="FILE"),
    ] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Least confidence compared.")] = 0.25,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Overlap above which the weaker box goes.")] = 0.45,
    score_within: Annotated[
        float, typer.Option(min=0, help="Most that a score or confidence may differ.")
    ] = 1e-4,
    top_within: Annotated[
        float, typer.Option(min=0, help="Most that the three strongest may differ, relative.")
    ] = 1e-3,
    box_within: Annotated[
        float, typer.Option(min=0, help="Most that a box's corner may be off, in pixels.")
    ] = 1e-3,
    shape: ShapeOption = "file",
    provider: ProviderOption = "cpu",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a model against golden results, another runtime, another file or the checkpoint it came from.

    Exports, rewrites and quantisation are checked so: the largest differences of each picture are shown.
    A model package (.zip or folder) is held against its own golden results, as a node does that is given it.
    A checkpoint (.pt) is a pickle: opening it runs what it holds, so check only your own.
    Exit codes: 0 when all is within tolerance, 1 when not or when a file cannot be used, 78 when the provider
    cannot be had.
    """
    from agent.adapters.models import is_package
    from agent.vision.agreement import Tolerance

    size = read_shape(shape)
    if is_package(model):
        if golden or reference or write_golden or images:
            raise typer.BadParameter(
                "a package brings its golden pictures and results; give its model.onnx with these options"
            )
        _verify_package(model, shape=size, provider=provider, threads=threads, as_json=as_json)
        return
    if (golden is None) == (reference is None) and not (golden is None and write_golden is not None):
        raise typer.BadParameter("one of --golden, --reference is wanted (or --write-golden alone)")
    tolerance = Tolerance(score=score_within, top=top_within, box_px=box_within)
    with told("verify"):
        from agent.workbench.opening import open_detector

        if write_golden is not None:
            _need_npz(write_golden)
        detector = open_detector(model, shape=size, provider=provider, threads=threads)
        result = None
        if golden is not None or reference is not None:
            who, expected = _expected(
                detector, golden=golden, reference=reference, images=images or [], iou=iou
            )
            result = _compare(
                detector, expected, who=who, confidence=confidence, iou=iou, tolerance=tolerance
            )
            if as_json:
                typer.echo(json.dumps(result.as_json()))
            else:
                show_verification(result)
        if write_golden is not None and (result is None or result.agrees):
            _keep(detector, write_golden, images or [], confidence=confidence, iou=iou)
    if result is not None and not result.agrees:
        complain("verify", result.why_not)
        raise typer.Exit(1)


def _verify_package(
    package: Path, *, shape: Shape, provider: str, threads: int | None, as_json: bool
) -> None:
    with told("verify"), spinner("admitting"):
        from agent.domain.errors import RefusedError
        from agent.workbench.packages import admit_package

        try:
            passed = admit_package(package, shape=shape, provider=provider, threads=threads)
        except RefusedError as error:
            if as_json:
                typer.echo(json.dumps({"package": str(package), "admitted": False, "why": error.message}))
            raise
    if as_json:
        typer.echo(json.dumps({"package": str(package), "admitted": True, **asdict(passed)}))
    else:
        typer.echo(f"{package.name}: {passed}")


def _expected(
    detector: OnnxDetector, *, golden: Path | None, reference: str | None, images: list[Path], iou: float
) -> tuple[str, Iterable[Expected]]:
    from agent.workbench.checkpoints import by_checkpoint, is_checkpoint
    from agent.workbench.golden import read_golden
    from agent.workbench.opening import open_detector
    from agent.workbench.pictures import collect
    from agent.workbench.references import RUNTIMES
    from agent.workbench.verification import by_detector, by_runtime

    if golden is not None:
        read = read_golden(golden, beside=images)
        return read.reference, read.pictures
    pictures = collect(images)
    reference = reference or ""
    if reference in RUNTIMES:
        return f"the runtime {reference}", by_runtime(detector, reference, pictures, iou=iou)
    other = Path(reference)
    if is_checkpoint(other):
        read = by_checkpoint(other, pictures, detector=detector, iou=iou)
        return read.reference, read.pictures
    fixed = detector.input_shape.fixed
    shape: Shape = "auto" if fixed is None else (fixed.height_px, fixed.width_px)
    return other.name, by_detector(open_detector(other, shape=shape), pictures, iou=iou)


def _compare(
    detector: OnnxDetector,
    expected: Iterable[Expected],
    *,
    who: str,
    confidence: float,
    iou: float,
    tolerance: Tolerance,
) -> Verification:
    from agent.workbench.verification import verify as hold_against

    with spinner("comparing") as tell:
        return hold_against(
            detector,
            expected,
            reference=who,
            confidence=confidence,
            iou=iou,
            tolerance=tolerance,
            progress=lambda name: tell(f"comparing {name}"),
        )


@contextmanager
def spinner(title: str) -> Iterator[Callable[[str], None]]:
    """A turning sign on stderr with what is being done, where a person looks; gives who is to be told."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda words: bar.update(task, description=words)


def _need_npz(path: Path) -> None:
    from agent.cli.output_file import need_writable
    from agent.domain.errors import Code, RefusedError

    if path.suffix != ".npz":
        raise RefusedError(f"--write-golden: {path.name} should end in .npz", code=Code.FILE)
    need_writable(path, option="--write-golden")


def _keep(detector: OnnxDetector, path: Path, images: list[Path], *, confidence: float, iou: float) -> None:
    from agent.workbench.golden import write_golden
    from agent.workbench.pictures import collect
    from agent.workbench.verification import as_golden

    write_golden(path, as_golden(detector, collect(images), confidence=confidence, iou=iou))


def show_verification(result: Verification) -> None:
    """The largest differences of each picture, as a table on stdout."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    allowed = result.tolerance
    table = Table(title=escape(f"against {result.reference}, confidence {result.confidence:g} and above"))
    table.add_column("picture", overflow="fold", min_width=12)
    for title in ("objects", "raw", "confidence", "top 3", "box (px)", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for one in result.deviations:
        unequal = f" -{one.missing} +{one.extra}" if one.missing or one.extra else ""
        raw = "" if one.output is None else f"{one.output:.1e}"
        differences = (raw, f"{one.score:.1e}", f"{one.top:.1e}", f"{one.box_px:.1e}")
        verdict = "[green]pass[/]" if one.within(allowed) else "[red]FAIL[/]"
        table.add_row(escape(one.picture), f"{one.objects}{unequal}", *differences, verdict)
    table.add_section()
    limits = (allowed.score, allowed.score, allowed.top, allowed.box_px)
    table.add_row("allowed", "", *(f"{limit:.1e}" for limit in limits), "", style="dim")
    Console().print(table)
