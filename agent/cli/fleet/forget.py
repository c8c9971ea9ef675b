"""`nanofleet fleet forget`: clear what nodes that are gone have left at the broker."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from agent.cli.fleet.talking import (
    NOT_SO,
    AsJson,
    Nodes,
    SettingsFile,
    client_of,
    print_json,
    read_each,
    say,
    talking,
)


def forget(
    names: Nodes,
    settings_file: SettingsFile,
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also nodes that are online by what the broker knows, which may be long ago."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Clear every retained topic of nodes (state, alarms, policies, acks), and look whether all are gone.

    What they said otherwise stays wherever it was stored. A node that is online is refused.

    For example:

        nanofleet fleet forget --settings me.toml plant/nano-7 plant/nano-8

    Exit code 0 if nothing is left of any of them, 1 if something is, 69 if the broker cannot be reached,
    78 if the settings are wrong.
    """
    with talking("forget"):
        from agent.fleet.forgetting import as_json as remains_as_json
        from agent.fleet.forgetting import forget as clear
        from agent.fleet.node_names import read_node

        nodes = read_each(names, read_node)
        remains = asyncio.run(clear(client_of(settings_file), nodes, force=force))
    if as_json:
        print_json(remains_as_json(remains))
    else:
        for node, one in remains.items():
            done = f"{len(one.cleared)} topics cleared" if one.cleared else "nothing was there"
            say(f"{node}: {one.refusal or done}")
            for path in one.left:
                say(f"  {path} is left")
    if any(one.refusal for one in remains.values()):
        raise typer.Exit(NOT_SO)
