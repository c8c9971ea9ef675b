"""`nanofleet fleet wait-for`: the gate of a rollout."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from agent.cli.fleet.talking import (
    NOT_SO,
    AsJson,
    SettingsFile,
    UsageError,
    client_of,
    print_json,
    progress,
    read_each,
    say,
    talking,
    warn_of_unread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.fleet.conditions import Finding
    from agent.fleet.gate import Verdict
    from agent.fleet.node_names import NodeName

T = TypeVar("T")


def wait_for(
    settings_file: SettingsFile,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Nodes. Default: those in --each.", metavar="SITE/NODE...", show_default=False),
    ] = None,
    *,
    each: Annotated[
        Path | None,
        typer.Option(
            "--each",
            help="A JSON object by SITE/NODE: what is wanted of that node; it goes before the options. Keys: "
            "`agent`, `above_session` (N: it has to be greater), `policy_at_least` (N or later, wholly in "
            "force), `max_temperature`, `max_error_rate`, `sources` (of those that publish, these have to be "
            "heard). A node that is not in it has the options alone; one that only it names is ignored.",
            metavar="FILE",
        ),
    ] = None,
    newer_than: Annotated[
        Path | None,
        typer.Option(
            "--newer-than",
            help="What `get --json` printed before the update: a session above the one in it is wanted. "
            "A node that is not in it had none.",
            metavar="FILE",
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="The version that has to run.", metavar="VERSION")
    ] = None,
    policy_version: Annotated[
        int | None,
        typer.Option(
            "--policy-version",
            min=0,
            help="Exactly this policy has to be in force, and wholly (`applied`).",
            metavar="N",
        ),
    ] = None,
    health: Annotated[
        Literal["ok", "degraded"] | None,
        typer.Option(
            "--health",
            help="The worst health that passes. Default: degraded with --max-error-rate, else any.",
        ),
    ] = None,
    fresh_detection: Annotated[
        bool,
        typer.Option(
            "--fresh-detection",
            help="Each source that publishes has to be heard with a message made in this session: detections "
            "of a camera with a model, telemetry of a sensor. With --newer-than only those that were ok "
            "before. Where `publish.detections` is not `always`, an fps above 0 in a heartbeat does as well, "
            "unless `health` says that the source or its model is not ok.",
        ),
    ] = False,
    max_error_rate: Annotated[
        float | None,
        typer.Option(
            "--max-error-rate",
            min=0,
            max=1,
            help="Most (rows declared lost + log lines of level error) / (those + messages of sources "
            "heard), all made in this session, while this command listens.",
            metavar="SHARE",
        ),
    ] = None,
    max_temperature_c: Annotated[
        float | None,
        typer.Option(
            "--max-temperature",
            help="The highest in a heartbeat of this session, in °C. A node without a sensor passes.",
            metavar="C",
        ),
    ] = None,
    steady_s: Annotated[
        float,
        typer.Option(
            "--steady",
            min=0,
            help="Seconds on end for which all of it has to hold, in one session.",
            metavar="S",
        ),
    ] = 0.0,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds after which it is given up.", metavar="S")
    ] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Wait until nodes are online and meet all that is asked, each of them for itself.

    What a process said before the update counts for nothing: everything is judged of the newest session.
    Nodes that met everything and then do not any more (a crash loop) have not met it.

    For example:

        nanofleet fleet wait-for --settings me.toml plant/nano-1

        nanofleet fleet wait-for --settings me.toml --newer-than before.json --agent 0.2.0 --fresh-detection
        --max-error-rate 0.05 --max-temperature 85 --steady 30 plant/nano-1 plant/nano-2

        echo '{"plant/nano-1": {"agent": "0.2.0", "above_session": 17}, "plant/nano-2": {"policy_at_least":
        42, "sources": ["door"]}}' > wave.json

        nanofleet fleet wait-for --settings me.toml --each wave.json --max-temperature 85 --steady 30

    Exit code 0 if all nodes met all of it, 1 if one did not in time, 69 if the broker cannot be reached or
    the connection ended, 78 if the settings are wrong, 64 or 65 if arguments or FILE are.
    """
    with talking("wait-for"):
        from agent.domain.errors import Code, RefusedError
        from agent.fleet.answers import read_before, verdicts_as_json
        from agent.fleet.conditions import Wanted
        from agent.fleet.each import read_own
        from agent.fleet.node_names import read_node
        from agent.fleet.watching import wait_for as wait

        if steady_s >= timeout_s:
            raise UsageError(f"--steady {steady_s:g} never fits into --timeout {timeout_s:g}")
        if not names and each is None:
            raise UsageError("no node is named: give SITE/NODE, or --each FILE")
        nodes = read_each(names or [], read_node)
        own = {} if each is None else _read(each, read_own)
        if not names and not own:
            raise RefusedError(f"{each}: it names no node, and neither does the command", code=Code.SCHEMA)
        options = Wanted(
            newer_than=None if newer_than is None else _read(newer_than, read_before),
            agent=agent,
            policy_version=policy_version,
            health=health or (None if max_error_rate is None else "degraded"),
            fresh_detection=fresh_detection,
            max_error_rate=max_error_rate,
            max_temperature_c=max_temperature_c,
        )
        wanted = {node: own[node].over(options, node) if node in own else options for node in nodes or own}
        client = client_of(settings_file)
        with progress("nodes that meet it", total=len(wanted)) as on_progress:
            watched = asyncio.run(
                wait(client, wanted, steady_s=steady_s, timeout_s=timeout_s, on_progress=on_progress)
            )
    warn_of_unread(watched.unread, watched.last_unread)
    if as_json:
        print_json(verdicts_as_json(watched.nodes))
    else:
        _show(watched.nodes)
    if not all(verdict.met for verdict in watched.nodes.values()):
        raise typer.Exit(NOT_SO)


def _read(file: Path, read: Callable[[bytes], T]) -> T:
    from agent.domain.errors import Code, ConfigError, RefusedError

    try:
        return read(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", code=Code.FILE) from error
    except RefusedError as error:
        raise RefusedError(f"{file}: {error.message}", code=error.code) from error


def _show(verdicts: Mapping[NodeName, Verdict]) -> None:
    """A line for each node; below it what it lacks."""
    for node, verdict in verdicts.items():
        if verdict.met:
            remarks = "; ".join(_remarks(verdict.conditions))
            say(f"{node}: met after {verdict.after_s:g} s" + (f" ({remarks})" if remarks else ""))
            continue
        say(f"{node}: not met")
        for name, finding in verdict.conditions.items():
            if not finding.met:
                say(f"  {name}: {_sentence(finding)}")
    met = sum(verdict.met for verdict in verdicts.values())
    say(f"{met} of {len(verdicts)} nodes met everything", err=True)


def _remarks(conditions: Mapping[str, Finding]) -> Iterator[str]:
    for name in ("temperature", "detection"):
        if name in conditions and conditions[name].remark:
            yield conditions[name].remark


def _sentence(finding: Finding) -> str:
    seen = "nothing seen" if finding.seen is None else f"{finding.seen} seen"
    remark = f" ({finding.remark})" if finding.remark else ""
    return f"{seen}, {finding.wanted} wanted{remark}"
