"""`nanofleet check`: whether a node could run by its settings and its policy, before it does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer


def check(
    settings_file: Annotated[
        Path, typer.Option("--settings", help="This node's settings, TOML.", metavar="FILE")
    ] = Path("/etc/nanofleet/agent.toml"),
    policy_file: Annotated[
        Path | None,
        typer.Option("--policy", help="A policy, instead of the one that the settings name.", metavar="FILE"),
    ] = None,
    look_at_files: Annotated[
        bool,
        typer.Option(
            "--files/--no-files",
            help="Look for the files and programs that are named; not when checking for another machine.",
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as one JSON object.")] = False,
) -> None:
    """Check settings and policy, and print everything that is wrong: file, line, path, what would be right.

    Exit codes: 0 when the node could run by them, 78 when not.
    """
    from agent.cli.verdict import judge

    verdict = judge(settings_file, policy_file, look_at_files=look_at_files)
    if as_json:
        typer.echo(json.dumps(verdict.as_json(), ensure_ascii=False))
    else:
        typer.echo("\n".join(verdict.as_text()))
    if verdict.problems:
        raise typer.Exit(os.EX_CONFIG)
