"""`nanofleet fleet get`: what nodes report now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.fleet.talking import (
    AsJson,
    SettingsFile,
    client_of,
    plain,
    print_json,
    read_each,
    say,
    talking,
    warn_of_unread,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.fleet.node_names import NodeName
    from agent.fleet.sighting import Sighting

_COLUMNS = ("node", "state", "session", "agent", "policy", "sources ok/bad", "worst condition", "°C")


def get(
    names: Annotated[
        list[str], typer.Argument(help="Nodes, or all of a site.", metavar="SITE/NODE|SITE/*...")
    ],
    settings_file: SettingsFile,
    listen_s: Annotated[
        float,
        typer.Option("--listen", min=0.1, max=3600, help="Seconds to wait for what is not there at once."),
    ] = 2.0,
    heartbeat: Annotated[
        bool, typer.Option("--heartbeat", help="Wait for a heartbeat of each node that is online, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what nodes report now: state, versions, policy, health, temperature.

    It ends as soon as all is there that nodes leave at the broker. With `--json` the messages as they came,
    null for what did not come; kept from before an update, it is what `wait-for --newer-than` wants.

    For example:

        nanofleet fleet get --settings me.toml plant/nano-1 plant/nano-2

        nanofleet fleet get --settings me.toml --heartbeat --listen 15 'plant/*'

        nanofleet fleet get --settings me.toml --json 'plant/*' > before.json

    Exit code 0, also for nodes of which nothing is known; 69 if the broker cannot be reached, 78 if the
    settings are wrong, 64 if a name is none.
    """
    with talking("get"):
        from agent.fleet.answers import seen_as_json
        from agent.fleet.node_names import read_nodes_or_site
        from agent.fleet.watching import see

        wanted = read_each(names, read_nodes_or_site)
        client = client_of(settings_file)
        seen = asyncio.run(see(client, wanted, listen_s=listen_s, heartbeat=heartbeat))
    warn_of_unread(seen.unread, seen.last_unread)
    if as_json:
        print_json(seen_as_json(seen.nodes))
    else:
        _show(seen.nodes)


def _show(sightings: Mapping[NodeName, Sighting]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not sightings:
        say("no node has left anything at the broker", err=True)
        return
    table = Table()
    for column in _COLUMNS:
        table.add_column(
            column,
            justify="right" if column in {"session", "°C"} else "left",
            overflow="fold",
            no_wrap=column == "node",  # it is looked for, and copied into the next command
        )
    for node, sighting in sightings.items():
        table.add_row(*map(plain, (str(node), *_row(sighting))))
    Console().print(table)
    unknown = [str(node) for node, sighting in sightings.items() if not sighting.is_known]
    if unknown:
        say(f"nothing is known of {', '.join(unknown)}", err=True)


def _row(sighting: Sighting) -> list[str]:
    from rich.markup import escape

    state, info, config, health = sighting.state, sighting.info, sighting.config, sighting.health
    cells = ["nothing known" if not sighting.is_known else "-"] + ["-"] * (len(_COLUMNS) - 2)
    if state is not None:
        colour = "green" if sighting.online else "red"
        why = f" ({escape(state.reason)})" if state.reason and not sighting.online else ""
        cells[0] = f"[{colour}]{state.state}[/]{why}"
        cells[1] = str(state.session)
    if info is not None:
        cells[2] = escape(info.agent)
    if config is not None:
        diverged = ", diverged" if config.diverged else ""
        cells[3] = escape(f"{config.version} {config.status_in_force}{diverged}")
    if health is not None:
        well = sum(source.status == "ok" for source in health.sources.values())
        cells[4] = f"{well}/{len(health.sources) - well}"
        cells[5] = "ok"
        if health.worst is not None:
            who, how = health.worst
            cells[5] = escape(" ".join(filter(None, (who, how.status, how.code))))
    if sighting.heartbeat is not None and sighting.heartbeat.hottest_c is not None:
        cells[6] = f"{sighting.heartbeat.hottest_c:.0f}"
    return cells
