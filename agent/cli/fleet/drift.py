"""`nanofleet fleet drift`: do nodes run the policies that they should?"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.fleet.talking import (
    NOT_SO,
    AsJson,
    Assignments,
    SettingsFile,
    client_of,
    print_json,
    read_files,
    say,
    talking,
    warn_of_unread,
)

if TYPE_CHECKING:
    from agent.fleet.drift import Drift
    from agent.fleet.node_names import NodeName


def drift(
    assignments: Assignments,
    settings_file: SettingsFile,
    listen_s: Annotated[
        float, typer.Option("--listen", min=0.1, max=3600, help="Seconds to wait for what nodes report.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Hold what nodes report against the policy documents that they should run by.

    Another version, another content, a change made at the node (`diverged`), or a policy that is not wholly
    applied is drift; so is another document that waits on its `config/desired`, and a node of which nothing
    is known. Each difference is told by its JSON pointer, with both values. A node that is offline is judged
    by what it said last. With `--json` both documents are there as a whole, too.

    For example:

        nanofleet fleet drift --settings me.toml plant/nano-1=door.yaml plant/nano-2=yard.yaml

    Exit code 0 if there is none, 1 if there is, 69 if the broker cannot be reached, 78 if settings or a
    document are wrong.
    """
    with talking("drift"):
        from agent.fleet.drift import as_json as drift_as_json
        from agent.fleet.drift import drift_of
        from agent.fleet.watching import see
        from agent.fleet.wishes import read_wishes

        files = read_files(assignments)
        wishes = read_wishes(files, issuer="", now_s=time.time(), judge_expiry=False)
        seen = asyncio.run(see(client_of(settings_file), list(files), listen_s=listen_s, desired=True))
    warn_of_unread(seen.unread, seen.last_unread)
    drifts = {
        node: drift_of(wishes[node], sighting.config, sighting.desired)
        for node, sighting in seen.nodes.items()
    }
    found = any(each.is_drift for each in drifts.values())
    if as_json:
        print_json(
            {"drift": found, "nodes": {str(node): drift_as_json(each) for node, each in drifts.items()}}
        )
    else:
        for node, each in drifts.items():
            _show(node, each)
    if found:
        raise typer.Exit(NOT_SO)


def _show(node: NodeName, drift: Drift) -> None:
    told, wish = drift.reported, drift.wish
    if told is None:
        say(f"{node}: drift: nothing is known of it; version {wish.version} wanted")
        return
    head = f"version {told.version} {told.status_in_force}"
    if drift.is_drift:
        head = f"drift: {head}, {wish.version} wanted"
    if told.diverged:
        head += "; a change made at the node is not in config/desired"
    if drift.other_desired:
        head += "; another document is on config/desired"
    say(f"{node}: {head}")
    for name, source in drift.unsettled.items():
        say(f"  source {name}: version {source.version} {source.status} {source.code or ''}".rstrip())
    for each in drift.differences:
        say(f"  {each.path or '/'}: {_value(each.wanted)} wanted, {_value(each.reported)} reported")
    if drift.refusal is not None:
        say(f"  it would be refused: {drift.refusal.code} {drift.refusal.message}")


def _value(value: object) -> str:
    from agent.fleet.drift import ABSENT

    return "nothing" if value is ABSENT else json.dumps(value, ensure_ascii=False)
