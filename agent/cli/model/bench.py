"""`nanofleet model bench`: how fast a model runs on this machine, and in which lanes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.model.complaints import complain, told
from agent.cli.model.options import ProviderOption, ShapeOption, read_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.serving.tuning import Lanes, Tuning
    from agent.workbench.bench.rounds import Bench
    from agent.workbench.bench.setup import Setup

_SECONDS, _ROUNDS = 2.0, 3
_QUICK_SECONDS, _QUICK_ROUNDS = 0.3, 1
_MOST_LANES = 64
_FILE_COLUMNS = 160


def bench(
    model: Annotated[Path, typer.Argument(help="An ONNX file.", metavar="MODEL")],
    *,
    tune: Annotated[
        bool, typer.Option("--tune", help="Keep the best lanes beside the model, for `power.lanes: auto`.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Where --tune keeps them. Default: MODEL.tune.json.", metavar="FILE")
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(
            "--latency-ms",
            min=0,
            help="--tune: longest p95 of a call with several cameras. Default: three times the least.",
        ),
    ] = None,
    lanes: Annotated[str | None, typer.Option(help="Callers of the one session, such as 1,2.")] = None,
    threads: Annotated[str | None, typer.Option(help="Threads of a run, such as 1,4.")] = None,
    batch: Annotated[str | None, typer.Option(help="Pictures of a run, such as 1,2,4.")] = None,
    shape: ShapeOption = "file",
    provider: ProviderOption = "cpu",
    image: Annotated[Path | None, typer.Option(help="A picture to feed. Default: patches, 1280x720.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.05, max=600, help="Of each setup in each round. Default: 2.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=99, help="Default: 3.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One round of 0.3 s: to see, not to cite.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures there.", metavar="FILE")
    ] = None,
) -> None:
    """Measure feeding, running and decoding: one lane with all cores, and a one-thread lane for each core.

    Also with larger batches, without spinning, without ONNX Runtime's arena, and beside a busy process, as
    decoding cameras are. Each in a process of its own, for its memory (VmHWM), in rounds, of which
    the medians count. Give --lanes, --threads or --batch to measure just these.
    Exit codes: 0, 1 when the model cannot be measured, 78 when the provider cannot be had.
    """
    size = read_shape(shape)
    if tune and (lanes or threads or batch):
        raise typer.BadParameter("it measures the lanes that it chooses from", param_hint="--tune")
    if not tune and (keep or latency_ms is not None):
        raise typer.BadParameter("--keep and --latency-ms go with it", param_hint="--tune")
    asked = [_counts(lanes, "--lanes"), _counts(threads, "--threads"), _counts(batch, "--batch")]
    with told("bench"):
        from agent.adapters.onnx.session import SessionSettings, open_session
        from agent.adapters.system.processor import cores
        from agent.cli.output_file import need_writable, write_output
        from agent.serving.tuning import beside, write_tuning
        from agent.workbench.bench.rounds import Subject, measure
        from agent.workbench.bench.tune import decide, tuned_setups

        kept = keep or beside(model)
        # What is wrong is told before minutes of work.
        open_session(model, sha256=None, settings=SessionSettings(provider=provider, strict_provider=True))
        if json_file is not None:
            need_writable(json_file, option="--json")
        if tune:
            need_writable(kept, option="--keep")
        setups = tuned_setups(cores()) if tune else _setups(asked, cores(), quick=quick)
        times = rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
        subject = Subject(
            path=model,
            shape=size,
            provider=provider,
            image=image,
            seconds=seconds or (_QUICK_SECONDS if quick else _SECONDS),
        )
        with _bar(times * len(setups)) as tell:
            found = measure(subject, setups, rounds=times, progress=tell)
        tuning = decide(found, subject, latency_ms=latency_ms) if tune else None
        if tuning is not None:
            write_tuning(tuning, kept)
        if json_file is not None:
            write_output(json_file, _json(found, tuning), option="--json")
    for setup, why in found.refused:
        complain("bench", f"left out: {setup}: {why}")
    _show(model.name, found)
    if tuning is not None:
        typer.echo(f"one camera:      {_lanes(tuning.alone)}")
        typer.echo(f"several cameras: {_lanes(tuning.many)}")
        typer.echo(f"kept in {kept}; `power.lanes: auto` takes them ({tuning.rule})")


def _counts(text: str | None, option: str) -> list[int] | None:
    if text is None:
        return None
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(1 <= number <= _MOST_LANES for number in numbers):
        raise typer.BadParameter(
            f"{text!r}; numbers from 1 to {_MOST_LANES} are wanted, such as 1,2", param_hint=option
        )
    return numbers


def _setups(asked: Sequence[list[int] | None], cores: int, *, quick: bool) -> list[Setup]:
    from agent.workbench.bench.setup import chosen, compared

    lanes, threads, batch = asked
    if lanes is None and threads is None:
        return compared(cores, batch or ([1] if quick else [1, 2, 4]))
    return chosen(lanes or [1], threads or [1], batch or [1])


def _json(found: Bench, tuning: Tuning | None) -> str:
    from agent.serving.tuning import Machine

    figures = {
        f"{one.setup}: {name}": value
        for one in found.figures
        for name, value in {
            "per_second": one.measured.per_second,
            "peak_mb": one.measured.peak_mb,
            **{
                f"{stage}_{share}_ms": value
                for stage, shares in one.measured.stage_ms.items()
                for share, value in shares.items()
            },
        }.items()
    }
    document = {
        "figures": figures,
        "environment": Machine.here().model_dump(),
        "setups": [one.as_json() for one in found.figures],
        "refused": [{"name": str(setup), "reason": why} for setup, why in found.refused],
        "tuning": tuning.model_dump(mode="json") if tuning else None,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        begun = iter(range(total + 1))
        yield lambda setup: bar.update(task, completed=next(begun), description=setup)


def _show(name: str, found: Bench) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    runs = sum(one.measured.runs for one in found.figures)
    table = Table(title=escape(f"{name}: ms of a call, p50 / p95; {runs} calls"))
    table.add_column("setup", min_width=12)
    for column in ("per s", "feed", "run", "decode", "all", "p99", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found.figures:
        measured = one.measured
        stages = [
            f"{measured.stage_ms[stage]['p50']:.3g} / {measured.stage_ms[stage]['p95']:.3g}"
            for stage in ("feed", "run", "decode", "all")
        ]
        table.add_row(
            str(one.setup),
            f"{measured.per_second:.4g}",
            *stages,
            f"{measured.stage_ms['all']['p99']:.3g}",
            f"{measured.peak_mb:.0f}",
        )
    # In a file or a pipe nothing has to fit.
    Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS).print(table)


def _lanes(lanes: Lanes) -> str:
    words = [f"{lanes.lanes} lane(s) of {lanes.threads} thread(s)"]
    words += [] if lanes.spinning else ["without spinning"]
    words += [] if lanes.arena else ["without arena"]
    return ", ".join(words)
