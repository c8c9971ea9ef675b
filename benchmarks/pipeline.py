"""Measure the pipeline: raw `session.run`, our worker on frames from memory, and the whole agent.

All three take turns in one call, round after round, because only ratios within the same minutes of the
same machine mean anything. docs/benchmarks.md says how to read what it prints.
"""

import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from agent.adapters.logs.configure import configure_logging
from agent.adapters.logs.scrub import Scrubber
from agent.domain.errors import NanofleetError
from benchmarks.broker import running_broker
from benchmarks.environment import Environment, OtherLoad, describe_machine, describe_run
from benchmarks.figures import Figure, Round, errors_of, figures_of, latencies_of
from benchmarks.footage import render_footage
from benchmarks.lanes import both_lanes, usable_cores, warm_up_of
from benchmarks.peers.agreement import compare
from benchmarks.peers.peer import running_peer
from benchmarks.plain import JsonFile, Quick, write_figures
from benchmarks.progress import progress_bar
from benchmarks.rounds import Bench
from benchmarks.subject import SERVED_GRAPH, Subjects, default_model, read_subject
from benchmarks.tables import print_tables

_ROUNDS: Final = 3
_FRAMES: Final = 120
_QUICK_FRAMES: Final = 12
_QUIET_CORES: Final = 0.1
_WIDTH: Final = 110


def main(
    *,
    json_file: JsonFile = None,
    quick: Quick = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help=f"How often everything is measured. [default: {_ROUNDS}]")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=6, help=f"Frames counted in each run. [default: {_FRAMES}]")
    ] = None,
    peers: Annotated[
        bool | None,
        typer.Option(
            help="Measure Ultralytics beside it; its environment is made on first use, several GB. "
            "[default: unless --quick]"
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A detector. Default: YOLOv8n of the test data.", metavar="FILE")
    ] = None,
) -> None:
    """Measure, print tables to stdout, and write the figures where --json says."""
    environment = describe_machine()
    others = OtherLoad()
    configure_logging(stream=sys.stderr, scrubber=Scrubber(), level="warning")
    rounds = rounds or (1 if quick else _ROUNDS)
    frames = frames or (_QUICK_FRAMES if quick else _FRAMES)
    try:
        with progress_bar() as progress, tempfile.TemporaryDirectory(prefix="nanofleet-bench-") as name:
            measured, errors, described = _measure(
                Path(name),
                model or default_model(),
                rounds=rounds,
                frames=frames,
                with_peers=peers if peers is not None else not quick,
                progress=progress,
            )
    except (NanofleetError, RuntimeError, TimeoutError, ValueError) as error:
        typer.echo(f"benchmarks.pipeline: {error}", err=True)
        raise typer.Exit(1) from error
    environment |= described | {"rounds": rounds, "frames": frames, "quick": quick}
    environment["others_cores"] = others_cores = others.cores()
    figures = [*figures_of(measured), *errors]
    print_tables(_console(), figures, measured, environment)
    if others_cores > _QUIET_CORES:
        typer.echo(f"other processes kept {others_cores} cores busy: these figures say little", err=True)
    write_figures(
        json_file, {figure.name: figure.value for figure in [*figures, *latencies_of(measured)]}, environment
    )


def _measure(
    folder: Path, model: Path, *, rounds: int, frames: int, with_peers: bool, progress: Progress
) -> tuple[list[Round], list[Figure], Environment]:
    subjects = Subjects.of(read_subject(model), folder)
    lanes = both_lanes(usable_cores())
    video_frames = frames + warm_up_of(frames, lanes=lanes["all_lanes"].lanes)
    rendering = progress.add_task("rendering the video", total=video_frames)
    footage = render_footage(folder, frames=video_frames, advance=lambda: progress.advance(rendering))
    measuring = progress.add_task("starting", total=None)
    begun = count()

    def begin(what: str) -> None:
        progress.update(measuring, description=what, completed=next(begun))

    with ExitStack() as running:
        broker = running.enter_context(running_broker(folder))
        peer = running.enter_context(running_peer(folder)) if with_peers else None
        bench = Bench(
            subjects=subjects,
            footage=footage,
            broker=broker,
            folder=folder,
            lanes=lanes,
            frames=frames,
            peer=peer,
            begin=begin,
        )
        progress.update(measuring, total=rounds * bench.steps())
        measured = [bench.round(number) for number in range(rounds)]
        described = describe_run(subjects.served, footage, broker=broker.name)
        errors: list[Figure] = []
        if peer is not None:
            begin("agreement with Ultralytics")
            errors = errors_of(compare(peer, folder, rewrite=SERVED_GRAPH))
            described |= peer.versions()
    progress.update(measuring, description="done", completed=rounds * bench.steps())
    return measured, errors, described


def _console() -> Console:
    """As wide as the terminal, or else as wide as the tables want to be."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


if __name__ == "__main__":
    typer.run(main)
