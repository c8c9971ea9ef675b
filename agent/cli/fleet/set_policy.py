"""`nanofleet fleet set-policy`: give nodes their policies, and hear what they say to them."""

from __future__ import annotations

import asyncio
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
    progress,
    read_files,
    say,
    talking,
    warn_of_unread,
)

if TYPE_CHECKING:
    from agent.fleet.node_names import NodeName
    from agent.fleet.policy_setting import Outcome


def set_policy(
    assignments: Assignments,
    settings_file: SettingsFile,
    *,
    issuer: Annotated[
        str | None,
        typer.Option(
            "--issuer", help="In whose name, where the document does not say. Default: the certificate's."
        ),
    ] = None,
    timeout_s: Annotated[
        float,
        typer.Option("--timeout", min=1, help="Seconds to wait for the nodes' last words.", metavar="S"),
    ] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Publish a policy for each node, retained, and wait for what becomes of it.

    FILE is a policy document (YAML or JSON) with a version above the one in force, or one that `sign` has
    signed, which goes out as it is. All are checked before any is sent. The same document again changes
    nothing. What a node reports a newer version than (E_STALE), or the same with other content (E_CONFLICT),
    is refused and not sent to it. A node that is offline finds its policy when it comes back.

    For example:

        nanofleet fleet set-policy --settings me.toml plant/nano-1=door.yaml plant/nano-2=yard.jws

    Exit code 0 if all were applied, 1 if one was not wholly (`partial`), was undone, refused, or not answered
    in time; 69 if the broker cannot be reached, 78 if settings or a document are wrong and nothing was sent.
    """
    with talking("set-policy"):
        from agent.fleet.policy_setting import as_json as outcomes_as_json
        from agent.fleet.policy_setting import set_policies
        from agent.fleet.wishes import read_wishes

        files = read_files(assignments)
        client = client_of(settings_file)
        wishes = read_wishes(files, issuer=issuer or client.name, now_s=time.time())
        with progress("nodes that have answered", total=len(wishes)) as on_progress:
            told = asyncio.run(set_policies(client, wishes, timeout_s=timeout_s, on_progress=on_progress))
    warn_of_unread(told.unread, told.last_unread)
    if as_json:
        print_json(outcomes_as_json(told.nodes))
    else:
        for node, outcome in told.nodes.items():
            _show(node, outcome)
    if not all(outcome.answer.is_well for outcome in told.nodes.values()):
        raise typer.Exit(NOT_SO)


def _show(node: NodeName, outcome: Outcome) -> None:
    answer = outcome.answer
    how = " ".join(filter(None, (answer.status, answer.code, answer.path)))
    unchanged = " (it was in force already)" if answer.is_well and not outcome.changed else ""
    say(f"{node}: version {outcome.version} {how}{unchanged}")
    for line in answer.message.splitlines():
        say(f"  {line}")
    for name, standing in answer.sources.items():
        say(f"  source {name}: {standing}")
