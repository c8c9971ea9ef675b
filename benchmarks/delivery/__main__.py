"""Measure delivery: paho alone, our outbox and delivery, mosquitto_pub, turn by turn on one machine.

docs/benchmarks.md says how to read what it prints.
"""

import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer
from paho.mqtt import __version__ as paho_version
from rich.console import Console

from benchmarks.delivery.broker import counting_broker
from benchmarks.delivery.disk import IN_MEMORY, file_system, syncs_per_s
from benchmarks.delivery.figures import GOALS, backlog_figures, figures_of
from benchmarks.delivery.rounds import DeliveryBench
from benchmarks.delivery.tasks import BODY, WINDOW
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.figures import Figure
from benchmarks.plain import JsonFile, Quick, write_figures
from benchmarks.progress import progress_bar
from benchmarks.tables import environment_table, figures_table

_ROUNDS: Final = 5
_MESSAGES: Final = 30_000
_SECONDS: Final = 8.0
_QUICK_MESSAGES: Final = 1_000
_QUICK_SECONDS: Final = 0.5
_BACKLOG_STEPS: Final = 3
_QUIET_CORES: Final = 0.1
_WIDTH: Final = 110


def main(
    *,
    json_file: JsonFile = None,
    quick: Quick = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help=f"How often everything is measured. [default: {_ROUNDS}]")
    ] = None,
    messages: Annotated[
        int | None, typer.Option(min=100, help=f"Messages of each sender. [default: {_MESSAGES}]")
    ] = None,
    backlog: Annotated[
        int, typer.Option(min=0, help="Start with so many waiting rows as well, e.g. 1000000.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where outboxes lie: it is this disk that is measured. Default: for temporary files."
        ),
    ] = None,
) -> None:
    """Measure, print tables to stdout, and write the figures where --json says."""
    environment = describe_machine()
    others = OtherLoad()
    rounds = rounds or (1 if quick else _ROUNDS)
    messages = messages or (_QUICK_MESSAGES if quick else _MESSAGES)
    seconds = _QUICK_SECONDS if quick else _SECONDS
    try:
        with tempfile.TemporaryDirectory(prefix="nanofleet-bench-", dir=folder) as name:
            place = Path(name)
            environment |= {"disk": file_system(place), "disk_syncs_per_s": round(syncs_per_s(place))}
            figures, broker = _measure(
                place, rounds=rounds, messages=messages, seconds=seconds, backlog=backlog
            )
    except (RuntimeError, OSError) as error:
        typer.echo(f"benchmarks.delivery: {error}", err=True)
        raise typer.Exit(1) from error
    environment |= {"broker": broker, "paho": paho_version, "payload_bytes": len(BODY), "window": WINDOW}
    environment |= {"rounds": rounds, "messages": messages, "quick": quick}
    environment["others_cores"] = others_cores = others.cores()
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(environment_table(environment))
    console.print(figures_table(figures, GOALS))
    if environment["disk"] in IN_MEMORY:
        typer.echo(f"{environment['disk']} is memory: no disk was measured; give --folder", err=True)
    if others_cores > _QUIET_CORES:
        typer.echo(f"other processes kept {others_cores} cores busy: these figures say little", err=True)
    write_figures(json_file, {figure.name: figure.value for figure in figures}, environment)


def _measure(
    folder: Path, *, rounds: int, messages: int, seconds: float, backlog: int
) -> tuple[list[Figure], str]:
    with counting_broker(folder) as broker, progress_bar() as progress:
        total = rounds * DeliveryBench.STEPS + (_BACKLOG_STEPS if backlog else 0)
        measuring = progress.add_task("starting", total=total)
        begun = count()
        bench = DeliveryBench(
            broker=broker,
            folder=folder,
            messages=messages,
            seconds=seconds,
            begin=lambda what: progress.update(measuring, description=what, completed=next(begun)),
        )
        figures = figures_of([bench.round(number) for number in range(rounds)])
        if backlog:
            figures += backlog_figures(bench.backlog(backlog))
        progress.update(measuring, description="done", completed=total)
        return figures, f"mosquitto {broker.version}"


if __name__ == "__main__":
    typer.run(main)
