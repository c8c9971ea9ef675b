"""`nanofleet policy`: the policy in force on this node, and another one from a person at the node."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.policy import PolicyDocument
    from agent.ports import KeptPolicy
    from agent.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="The policy of this node: the one in force, another one, and whether any version may come next.",
)

SettingsFile = Annotated[Path, typer.Option("--settings", help="This node's settings, TOML.", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Tell it as one JSON object.")]
Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for the agent's word; 0: do not wait.")
]
DEFAULT_SETTINGS = Path("/etc/nanofleet/agent.toml")
_WAIT_S = 90.0
_LOOK_S = 0.2


@app.command()
def show(settings_file: SettingsFile = DEFAULT_SETTINGS, as_json: AsJson = False) -> None:
    """The policy in force, where it came from, and what became of the last attempts to change it."""
    with _telling_errors():
        kept = _kept(_settings(settings_file))
    if as_json:
        _print_json(_described(kept))
        return
    if kept.document is None:
        typer.echo("No policy has been in force yet: the agent has not run here.")
        return
    typer.echo(
        f"version {kept.document['version']}, from {kept.origin}; the next has to be above {kept.floor}"
    )
    for attempt in kept.attempts:
        line = f"  {attempt['at']}  version {attempt['version']}  {attempt['status']}"
        typer.echo("  ".join([line, *filter(None, [attempt["code"], attempt["path"], attempt["message"]])]))
    typer.echo(json.dumps(kept.document["policy"], indent=2, ensure_ascii=False))


@app.command("set")
def set_policy(
    file: Annotated[Path, typer.Argument(help="The policy document, YAML or JSON.", metavar="FILE")],
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    wait_s: Wait = _WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Have the agent of this node try another policy: applied where it differs, probed, undone if it fails.

    It is checked here first, as by `nanofleet check`. While the agent is not running it waits for its start.
    Exit codes: 0 applied (or not waited for), 1 refused or undone, 78 when it cannot be one for this node.
    """
    from agent.adapters.policy_inbox import FilePolicyInbox
    from agent.contract.reported import as_written, policy_sha256
    from agent.settings import load_policy

    with _telling_errors():
        settings = _settings(settings_file)
        document = load_policy(file, settings)
        body = json.dumps(
            {**document.model_dump(mode="json", exclude_unset=True), "policy": as_written(document.policy)},
            ensure_ascii=False,
        )
        before = _kept(settings)
        FilePolicyInbox(state_dir=settings.state_dir).put(body.encode())
    if not _is_running(settings):
        typer.echo("The agent is not running here; the policy is tried when it starts.", err=True)
        return
    attempt = _await_attempt(settings, document, policy_sha256(document.policy), before, wait_s=wait_s)
    if attempt is None:
        typer.echo("" if not wait_s else f"The agent has not said a word within {wait_s:g} s.", err=True)
        raise typer.Exit(1 if wait_s else 0)
    if as_json:
        _print_json(attempt)
    else:
        words = [f"version {attempt['version']}: {attempt['status']}", attempt["code"], attempt["message"]]
        typer.echo("  ".join(filter(None, words)))
    if attempt["status"] not in {"applied", "partial"}:
        raise typer.Exit(1)


@app.command()
def reset(settings_file: SettingsFile = DEFAULT_SETTINGS, wait_s: Wait = _WAIT_S) -> None:
    """Forget which versions there were: any may come next. What is in force stays until then.

    The attempts are forgotten too: the list of `policy show`, and which policy was given up after a crash.
    """
    from agent.adapters.policy_inbox import FilePolicyInbox

    with _telling_errors():
        settings = _settings(settings_file)
        FilePolicyInbox(state_dir=settings.state_dir).put_reset()
    if not _is_running(settings):
        typer.echo("The agent is not running here; the floor is forgotten when it starts.", err=True)
        return
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if _kept(settings).floor < 0:
            typer.echo("Any version may come next.")
            return
        time.sleep(_LOOK_S)
    if wait_s:
        typer.echo(f"The agent has not said a word within {wait_s:g} s.", err=True)
        raise typer.Exit(1)


def _await_attempt(
    settings: Settings, document: PolicyDocument, sha256: str, before: KeptPolicy, *, wait_s: float
) -> dict[str, Any] | None:
    """The agent's word on this document: one that it has said since, or that it was in force already."""
    known = [dict(each) for each in before.attempts]
    deadline = time.monotonic() + wait_s
    while True:
        kept = _kept(settings)
        for attempt in map(dict, reversed(kept.attempts)):
            same = (attempt["version"], attempt["sha256"]) == (document.version, sha256)
            if same and (attempt not in known or not (settings.state_dir / "policy-inbox.json").exists()):
                return attempt
        if time.monotonic() >= deadline:
            return None
        time.sleep(_LOOK_S)


def _is_running(settings: Settings) -> bool:
    """Whether an agent holds this node's outbox."""
    import fcntl

    lock = settings.outbox_file.with_name(f"{settings.outbox_file.name}.lock")
    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _described(kept: KeptPolicy) -> dict[str, Any]:
    document = kept.document or {}
    return {
        "version": document.get("version"),
        "origin": kept.origin,
        "floor": kept.floor,
        "policy": document.get("policy"),
        "sources": dict(kept.sources),
        "attempts": [dict(attempt) for attempt in kept.attempts],
    }


def _kept(settings: Settings) -> KeptPolicy:
    from agent.adapters.policy_store import FilePolicyStore

    return FilePolicyStore(state_dir=settings.state_dir).peek()


def _settings(file: Path) -> Settings:
    """Without the files that they name: certificates and passwords may be there for the unit alone."""
    from agent.settings import load_settings

    return load_settings(file, look_at_files=False)


@contextmanager
def _telling_errors() -> Iterator[None]:
    from agent.domain.errors import ConfigError, NanofleetError

    try:
        yield
    except NanofleetError as error:
        typer.echo(f"nanofleet: {error.message}", err=True)
        is_config = isinstance(error, ConfigError)
        raise typer.Exit(os.EX_CONFIG if is_config else 1) from error


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
