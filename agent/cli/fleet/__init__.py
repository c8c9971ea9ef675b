"""`nanofleet fleet`: from an operator's machine. One module a command; each command is added here."""

from __future__ import annotations

import typer

from agent.cli.fleet.drift import drift
from agent.cli.fleet.forget import forget
from agent.cli.fleet.get import get
from agent.cli.fleet.set_policy import set_policy
from agent.cli.fleet.signatures import keygen, sign, verify
from agent.cli.fleet.wait_for import wait_for

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="From an operator's machine: look at nodes, wait for them, give them policies, sign what they get.",
)

app.command()(get)
app.command("wait-for")(wait_for)
app.command()(drift)
app.command("set-policy")(set_policy)
app.command()(forget)
app.command()(keygen)
app.command()(sign)
app.command()(verify)
