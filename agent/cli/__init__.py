"""The `nanofleet` command: the only place of the agent that prints."""

from __future__ import annotations

from typing import Annotated

import typer

from agent import __version__
from agent.cli.check import check
from agent.cli.demo import app as demo_app
from agent.cli.detect import detect
from agent.cli.fleet import app as fleet_app
from agent.cli.model import app as model_app
from agent.cli.outbox import app as outbox_app
from agent.cli.policy import app as policy_app
from agent.cli.rules import app as rules_app
from agent.cli.run import run

app = typer.Typer(
    name="nanofleet",
    help="Cameras and sensors, through one inference worker, to an MQTT broker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Cameras and sensors, through one inference worker, to an MQTT broker."""


@app.command()
def version() -> None:
    """Print the version of the agent."""
    typer.echo(__version__)


app.command()(check)
app.command()(detect)
app.command()(run)
app.add_typer(demo_app, name="demo")
app.add_typer(fleet_app, name="fleet")
app.add_typer(model_app, name="model")
app.add_typer(outbox_app, name="outbox")
app.add_typer(rules_app, name="rules")
app.add_typer(policy_app, name="policy")


def main() -> None:
    """Entry point of the `nanofleet` script."""
    app()
