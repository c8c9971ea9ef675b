"""`nanofleet rules`: try rules before they serve."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from agent.cli.rule_trial import Trial

app = typer.Typer(no_args_is_help=True, help="Try rules on recorded messages.")


@app.callback()
def _root() -> None:
    """Try rules on recorded messages."""


@app.command(name="test")
def try_on_messages(
    policy_file: Annotated[Path, typer.Option("--policy", help="The policy with the rules.", metavar="FILE")],
    messages_file: Annotated[
        Path,
        typer.Option(
            "--messages",
            help="Detections and telemetry, one message a line, as mosquitto_sub prints them with -F %j or "
            "-F '%t %p'.",
            metavar="FILE",
        ),
    ],
    node: Annotated[
        str | None,
        typer.Option("--node", help="Whose messages, where they are of several nodes.", metavar="SITE/NODE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as one JSON object.")] = False,
) -> None:
    """Tell which rules would have begun and ended when, by the times of the messages.

    Zones and tracks are taken from the messages, where the policy of then put them. What no message tells is
    not known here: lines that were crossed, how sources were, what was not published. A warning names each
    rule that asks for it.
    Exit codes: 0 when it could be tried, 78 when the policy is wrong, 65 when the messages cannot be read.
    """
    from agent.adapters.cel import CelRuleCompiler
    from agent.cli.rule_trial import of_one_node, try_rules
    from agent.cli.rule_verdict import problems_of_rules
    from agent.contract.recorded import read_recording
    from agent.domain.errors import RefusedError
    from agent.pipeline.rulebook import prepare
    from agent.settings import InvalidConfigError, load_policy

    try:
        document = load_policy(policy_file, None)
    except InvalidConfigError as error:
        _fail(str(error), os.EX_CONFIG)
    if problems := list(problems_of_rules(document.policy, policy_file)):
        _fail("\n".join(map(str, problems)), os.EX_CONFIG)
    book = prepare(document.policy, compiler=CelRuleCompiler()).book
    try:
        with messages_file.open("rb") as lines:
            recording = read_recording(lines)
        trial = try_rules(book, of_one_node(recording.messages, node))
    except OSError as error:
        _fail(f"{messages_file} cannot be read: {error.strerror}", os.EX_NOINPUT)
    except RefusedError as error:
        _fail(f"{messages_file}: {error.message} ({error.code})", os.EX_DATAERR)
    if as_json:
        _print_json(trial, recording.skipped)
    else:
        _print_table(trial, recording.skipped)


def _print_json(trial: Trial, skipped: int) -> None:
    from agent.domain.stamp import rfc3339

    told = {
        "messages": trial.messages,
        "skipped_lines": skipped,
        "from": None if trial.first is None else rfc3339(trial.first.wall_ns),
        "to": None if trial.last is None else rfc3339(trial.last.wall_ns),
        "events": [event.as_json() for event in trial.events],
        "unknown_sources": trial.unknown,
        "troubles": trial.troubles,
        "not_told": trial.not_told,
    }
    print(json.dumps(told, ensure_ascii=False))


def _print_table(trial: Trial, skipped: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from agent.domain.stamp import rfc3339

    table = Table()
    for title in ("rule", "began", "ended", "lasted (s)", "what it saw at the beginning"):
        table.add_column(title, justify="right" if title.startswith("lasted") else "left", overflow="fold")
    for event in trial.events:
        seen = ", ".join(f"{call} = {answer}" for call, answer in event.values.items())
        table.add_row(
            event.rule,
            rfc3339(event.began.wall_ns),
            "still on" if event.ended is None else rfc3339(event.ended.wall_ns),
            "" if event.lasted_s is None else f"{event.lasted_s:.1f}",
            escape(seen),
        )
    console = Console()
    if trial.events:
        console.print(table)
    else:
        print("No rule would have begun.")
    if trial.first is not None and trial.last is not None:
        print(f"{trial.messages} messages, {rfc3339(trial.first.wall_ns)} to {rfc3339(trial.last.wall_ns)}")
    else:
        print("There is no message of detections or telemetry in it.")
    for source in trial.unknown:
        print(f"warning: the policy has no source {source}; its messages say nothing to the rules")
    for rule, why in trial.troubles.items():
        print(f"warning: rule {rule}: {why}")
    for rule, whys in trial.not_told.items():
        print(f"warning: rule {rule} may do otherwise on the node: {'; '.join(whys)}")
    if skipped:
        print(f"warning: lines skipped: {skipped}; they are no text or no JSON, as pictures are")


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"nanofleet: {message}", err=True)
    raise typer.Exit(code)
