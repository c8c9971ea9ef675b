"""`nanofleet model`: one module a command; each command is added here."""

from __future__ import annotations

import typer

from agent.cli.model.bench import bench
from agent.cli.model.check_windows import check_windows
from agent.cli.model.evaluate import evaluate
from agent.cli.model.export import export
from agent.cli.model.inspect import inspect
from agent.cli.model.pack import pack
from agent.cli.model.prepare import prepare
from agent.cli.model.verify import verify

app = typer.Typer(help="Look at, prepare, check and measure models.", no_args_is_help=True)

app.command("inspect")(inspect)
app.command("verify")(verify)
app.command("export")(export)
app.command("eval")(evaluate)
app.command("prepare")(prepare)
app.command("pack")(pack)
app.command("check-windows")(check_windows)
app.command("bench")(bench)
