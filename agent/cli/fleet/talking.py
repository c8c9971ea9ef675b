"""What the commands that speak to the broker have in common: options, errors, and how they end."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from agent.fleet.client import Client
    from agent.fleet.node_names import NodeName

T = TypeVar("T")

NOT_SO: Final = 1
"""Exit code: a node is not as it was wanted."""

SettingsFile = Annotated[
    Path,
    typer.Option(
        "--settings",
        envvar="FLEET_SETTINGS",
        help="TOML with a table \\[broker] as in a node's agent.toml: host, port, ca_file, cert_file, "
        "key_file. The certificate is your own: a broker keeps one connection for each CN.",
        metavar="FILE",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]
Nodes = Annotated[list[str], typer.Argument(help="Nodes.", metavar="SITE/NODE...")]
Assignments = Annotated[
    list[str], typer.Argument(help="Nodes, each with its policy document.", metavar="SITE/NODE=FILE...")
]


class UsageError(typer.BadParameter):
    """What was typed cannot be meant; exit code 64."""

    exit_code = os.EX_USAGE


@contextmanager
def talking(command: str) -> Iterator[None]:
    """Turn our errors into a sentence on stderr and an exit code.

    69 without a broker or its leave, 78 where settings, certificates or a document are wrong, 65 where other
    input is.
    """
    from agent.domain.errors import Code, ConfigError, NanofleetError, TransientError

    _hush()
    try:
        yield
    except NanofleetError as error:
        match error:
            case TransientError():
                code = os.EX_UNAVAILABLE
            case ConfigError():
                code = os.EX_CONFIG
            case _:
                code = os.EX_UNAVAILABLE if error.code is Code.REFUSED else os.EX_DATAERR
        typer.echo(f"nanofleet fleet {command}: {error.message}", err=True)
        raise typer.Exit(code) from error


def client_of(settings_file: Path) -> Client:
    """Raises: ConfigError, if settings or the files that they name cannot be used."""
    from agent.fleet.client import read_client

    return read_client(settings_file)


def read_each(texts: list[str], read: Callable[[str], T]) -> list[T]:
    """`texts` as values, in order and without repetition.

    Raises:
        UsageError: one cannot be read.
    """
    try:
        return list(dict.fromkeys(read(text) for text in texts))
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_files(texts: list[str]) -> dict[NodeName, Path]:
    """The file that is meant for each node.

    Raises:
        UsageError: one is not of the form SITE/NODE=FILE, or a node has two.
    """
    from agent.fleet.node_names import read_assignment

    files: dict[NodeName, Path] = {}
    for node, file in read_each(texts, read_assignment):
        if node in files:
            raise UsageError(f"{node} is given two files: {files[node]} and {file}")
        files[node] = Path(file)
    return files


@contextmanager
def progress(what: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where a person sees it."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def say(line: str, *, err: bool = False) -> None:
    """One line for a person, with nothing in it that would steer the terminal."""
    typer.echo(plain(line), err=err)


def plain(text: str) -> str:
    r"""What a node said, fit for a terminal: nodes may be anybody's.

    >>> plain("door\x1b[2J failed")
    'door?[2J failed'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def print_json(content: dict[str, Any]) -> None:
    """One line on stdout."""
    print(json.dumps(content, ensure_ascii=False))


def warn_of_unread(unread: int, last: str) -> None:
    """Say on stderr that messages could not be read, and which was the last."""
    if unread:
        messages = "1 message was" if unread == 1 else f"{unread} messages were"
        say(f"{messages} left out, which could not be read; the last: {last}", err=True)


def _hush() -> None:
    """The way to the broker logs for an agent; here it ends in a sentence, and stdout is the answer's."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
