"""`nanofleet outbox`: what waits on this node, was refused, was lost, and what all that costs the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from agent.adapters.outbox.ledger import Entry
    from agent.adapters.outbox.listing import Listing, RefusedRow, WaitingRow
    from agent.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at the messages that wait on this node. Changes nothing.")

SettingsFile = Annotated[
    Path, typer.Option("--settings", help="This node's settings, which say where it is.", metavar="FILE")
]
OutboxFile = Annotated[
    Path | None, typer.Option("--path", help="The outbox file itself, instead.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]

DEFAULT_SETTINGS = Path("/etc/nanofleet/agent.toml")


@app.command()
def status(
    settings_file: SettingsFile = DEFAULT_SETTINGS, path: OutboxFile = None, as_json: AsJson = False
) -> None:
    """Each stream's account: produced = acknowledged + waiting + lost.

    Of those that wait, the broker has `at_broker`, and only their consumer has not stored them yet.
    """
    with _listing(settings_file, path) as listing:
        meta, streams, at_broker = listing.meta(), listing.streams(), listing.at_broker()
    rows = [
        {
            "stream": tally.stream,
            "produced": tally.produced,
            "acknowledged": tally.acknowledged,
            "waiting": tally.waiting,
            "at_broker": at_broker.get(tally.stream, 0),
            "lost": tally.lost,
            "next_seq": tally.next_seq,
            "bytes": tally.waiting_bytes,
        }
        for tally in streams
    ]
    if as_json:
        _print_json({"epoch": meta.epoch, "session": meta.session, "streams": rows})
    else:
        _print_table(f"epoch {meta.epoch}, session {meta.session}", rows, empty="Nothing was produced yet.")


@app.command()
def wear(
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    path: OutboxFile = None,
    endurance_tb: Annotated[
        float | None,
        typer.Option("--endurance-tb", min=0.001, help="What the card bears, instead of the settings' word."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What the outbox writes to its disk a day, and how long a new card would last at that rate."""
    from agent.adapters.outbox.wear import CARD_ENDURANCE_BYTES

    if endurance_tb is None:
        by_settings = None if path is not None else _settings(settings_file).outbox.card_endurance_tb
        endurance_tb = CARD_ENDURANCE_BYTES / 1e12 if by_settings is None else by_settings
    with _listing(settings_file, path) as listing:
        everything, day = listing.worn()
    rows = [
        {
            "of": of,
            "hours": round(worn.seconds / 3_600, 1),
            "written_gb": round(worn.written_bytes / 1e9, 3),
            "gb_per_day": round(worn.bytes_per_day / 1e9, 2),
            "syncs_per_day": round(worn.syncs_per_day),
            "life_years": None if (life := worn.life_years(endurance_tb * 1e12)) is None else round(life, 1),
        }
        for of, worn in (("the last day", day), ("all runs", everything))
        if worn.seconds
    ]
    if as_json:
        _print_json({"endurance_tb": endurance_tb, "worn": rows})
    else:
        title = f"a new card that bears {endurance_tb:g} TB"
        _print_table(title, rows, empty="Nothing is counted yet: the agent notes it every ten minutes.")


@app.command("list")
def list_waiting(
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    path: OutboxFile = None,
    stream: Annotated[str | None, typer.Option("--stream", help="Of this stream only.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What waits, in the order in which it is sent; `at_broker`: sent already, and kept for its consumer."""
    with _listing(settings_file, path) as listing:
        rows = [_waiting(row) for row in listing.waiting(stream=stream, limit=limit)]
    _print(rows, as_json=as_json, title="waiting", empty="Nothing waits.")


@app.command()
def refused(
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    path: OutboxFile = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What the broker will never take, the newest first; `show KEY` tells the payload."""
    with _listing(settings_file, path) as listing:
        rows = [_refused(row) for row in listing.refused(limit=limit)]
    _print(rows, as_json=as_json, title="refused", empty="Nothing was refused.")


@app.command()
def losses(
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    path: OutboxFile = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What was dropped and why, the newest first."""
    with _listing(settings_file, path) as listing:
        rows = [_loss(entry) for entry in listing.losses(limit=limit)]
    _print(rows, as_json=as_json, title="losses", empty="Nothing was lost.")


@app.command()
def show(
    key: Annotated[int, typer.Argument(help="As `list` and `refused` tell it.", metavar="KEY")],
    settings_file: SettingsFile = DEFAULT_SETTINGS,
    path: OutboxFile = None,
    as_json: AsJson = False,
) -> None:
    """One message with its payload, waiting or refused."""
    from agent.adapters.outbox.listing import RefusedRow
    from agent.contract.payloads import with_sequence

    with _listing(settings_file, path) as listing:
        row, epoch = listing.show(key), listing.meta().epoch
    if row is None:
        _fail(f"no message {key} waits or was refused; `nanofleet outbox list` tells the keys", os.EX_DATAERR)
    told = _refused(row) if isinstance(row, RefusedRow) else _waiting(row)
    told["properties"] = dict(row.properties)
    try:
        told["payload"] = json.loads(with_sequence(row.body, epoch=epoch, seq=row.seq))
    except ValueError:  # a picture
        told["payload"] = f"{len(row.body)} bytes of {row.content_type}"
    if as_json:
        _print_json(told)
    else:
        payload = told.pop("payload")
        for name, value in told.items():
            typer.echo(f"{name:13} {_text(value)}")
        typer.echo(payload if isinstance(payload, str) else json.dumps(payload, indent=2, ensure_ascii=False))


@contextmanager
def _listing(settings_file: Path, path: Path | None) -> Iterator[Listing]:
    from agent.adapters.outbox.listing import open_listing
    from agent.domain.errors import ConfigError

    if path is None:
        path = _settings(settings_file).outbox_file
    try:
        with open_listing(path) as listing:
            yield listing
    except ConfigError as error:
        _fail(error.message, os.EX_NOINPUT)


def _settings(settings_file: Path) -> Settings:
    from agent.domain.errors import ConfigError
    from agent.settings import load_settings

    try:
        return load_settings(settings_file, look_at_files=False)
    except ConfigError as error:
        _fail(f"{error}\n--path FILE names the outbox without settings.", os.EX_CONFIG)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _waiting(row: WaitingRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "stream": row.stream,
        "seq": row.seq,
        "priority": row.priority,
        "at_broker": row.at_broker,
        "bytes": row.size,
        "made": _time(row.made_wall_ns),
        "expiry_s": row.expiry_s,
        "content_type": row.content_type,
    }


def _refused(row: RefusedRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "stream": row.stream,
        "seq": row.seq,
        "reason": row.reason,
        "code": row.code,
        "at": _time(row.at_wall_ns),
        "made": _time(row.made_wall_ns),
        "bytes": len(row.body),
        "content_type": row.content_type,
    }


def _loss(entry: Entry) -> dict[str, Any]:
    drop = entry.drop
    return {
        "stream": drop.stream,
        "lost_epoch": drop.lost_epoch,
        "from": drop.first,
        "to": drop.last,
        "count": drop.count,
        "reason": drop.reason,
        "at": _time(entry.at_wall_ns),
        "told": entry.told,
    }


def _time(wall_ns: int) -> str:
    from agent.domain.stamp import rfc3339

    return rfc3339(wall_ns)


def _print(rows: list[dict[str, Any]], *, as_json: bool, title: str, empty: str) -> None:
    if as_json:
        _print_json(rows)
    else:
        _print_table(title, rows, empty=empty)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _print_table(title: str, rows: Iterable[Mapping[str, Any]], *, empty: str) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    if not rows:
        typer.echo(empty)
        return
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(
            name,
            justify="right" if isinstance(value, int) else "left",
            overflow="fold",
            no_wrap=name == "stream",
        )
    for row in rows:
        table.add_row(*map(_text, row.values()))
    Console().print(table)


def _text(value: object) -> str:
    return "-" if value is None else str(value)
