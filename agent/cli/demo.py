"""`nanofleet demo`: the agent at work, with everything around it, on this machine alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agent.demo.consumer import Consumer
    from agent.demo.show import Proof

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)

_WATCH_COMMAND = "{program} demo watch {folder}"


@app.callback()
def demo(
    context: typer.Context,
    seconds: Annotated[
        float | None, typer.Option("--for", min=1, metavar="SECONDS", help="Stop by itself after so long.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the summary here, as JSON.")
    ] = None,
) -> None:
    """Show the agent at work: two cameras, a sensor, a trained model, a broker, a live table.

    The broker is embedded, MQTT 5 with mutual TLS on a free port; certificates are made for this run only.
    Everything that the node published is counted at the subscriber: Ctrl-C ends it with a summary.
    """
    if context.invoked_subcommand is not None:
        return
    _need_demo_extra()
    from rich.console import Console
    from rich.live import Live

    from agent.cli.demo_tables import live_table, summary, summary_table
    from agent.cli.output_file import need_writable, write_output
    from agent.demo.node import NodeFailedError
    from agent.demo.show import show
    from agent.domain.errors import NanofleetError

    console = Console()

    def begun(folder: Path) -> None:
        program = Path(sys.argv[0]).name if not Path(sys.argv[0]).exists() else _shortest(Path(sys.argv[0]))
        console.print("Watch it from another terminal too:", style="dim")
        console.print(f"  {_WATCH_COMMAND.format(program=program, folder=folder)}", soft_wrap=True)

    try:
        if json_file is not None:
            need_writable(json_file, option="--json")
        with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:

            def draw(consumer: Consumer) -> None:
                if console.is_terminal:
                    live.update(live_table(consumer), refresh=True)

            proof: Proof = _run(lambda stop: show(stop=stop, begun=begun, draw=draw, seconds=seconds))
        console.print(summary_table(proof))
        if json_file is not None:
            write_output(json_file, json.dumps(summary(proof), indent=2) + "\n", option="--json")
    except (NanofleetError, NodeFailedError, RuntimeError) as error:
        typer.echo(f"nanofleet demo: {error}", err=True)
        raise typer.Exit(1) from error
    # What was promised is that nothing is lost: a demo that loses something has failed.
    raise typer.Exit(1 if proof.lost else 0)


@app.command("watch")
def watch_demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that the running demo named.")],
) -> None:
    """Subscribe to a running demo from another terminal, over TLS, with a certificate of its own."""
    _need_demo_extra()
    from rich.console import Console
    from rich.live import Live

    from agent.cli.demo_tables import live_table
    from agent.demo.show import watch
    from agent.domain.errors import NanofleetError

    console = Console()
    try:
        with Live(console=console, auto_refresh=False) as live:
            consumer: Consumer = _run(
                lambda stop: watch(
                    folder, stop=stop, draw=lambda now: live.update(live_table(now), refresh=True)
                )
            )
    except NanofleetError as error:
        typer.echo(f"nanofleet demo watch: {error.message}", err=True)
        raise typer.Exit(1) from error
    continuity = consumer.continuity
    gaps = sum(last - first + 1 for ranges in continuity.missing().values() for first, last in ranges)
    console.print(f"received {continuity.received}, duplicates {continuity.duplicates}, missing {gaps}")


def _run(work: Callable[[asyncio.Event], Any]) -> Any:
    """Run `work` on a loop; SIGINT and SIGTERM set the event that it is given."""

    async def main() -> Any:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await work(stop)

    return asyncio.run(main())


def _shortest(program: Path) -> str:
    """As people would type it from here."""
    try:
        return str(program.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(program)


def _need_demo_extra() -> None:
    try:
        import iotcore  # noqa: F401
        import trustme  # noqa: F401
    except ImportError as error:
        typer.echo(
            f"nanofleet demo: {error.name} is missing; install nanofleet[cpu,demo], or call `make demo`",
            err=True,
        )
        raise typer.Exit(os.EX_CONFIG) from error
