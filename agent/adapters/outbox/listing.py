"""The outbox file for a person to look at, while an agent uses it or not. Reads only; blocks."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.adapters.outbox.books import Tally, read_tallies
from agent.adapters.outbox.faults import DamagedStoreError
from agent.adapters.outbox.ledger import Entry, read_entries
from agent.adapters.outbox.meta import Meta, read_meta
from agent.adapters.outbox.rows import JSON_TYPE
from agent.adapters.outbox.schema import BUSY_TIMEOUT_S, RANKS, missing_columns, side_files
from agent.adapters.outbox.wear import Worn, read_worn
from agent.domain.errors import Code, ConfigError
from agent.domain.ids import Stream

_WAITING: Final = (
    "SELECT key, name, seq, rank, size, made_wall_ns, expiry_s, {at_broker}, content_type, properties, {body}"
    " FROM message JOIN stream ON stream.id = message.stream {where}"
)
_REFUSED: Final = (
    "SELECT key, stream, seq, reason, code, at_wall_ns, made_wall_ns, content_type, properties, body"
    " FROM refused {where}"
)

_AT_BROKER: Final = "message.at_broker"


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A message that waits; `at_broker`: only for its consumer. `body` is empty in lists."""

    key: int
    stream: Stream
    seq: int
    priority: str
    size: int
    made_wall_ns: int
    expiry_s: int | None
    at_broker: bool
    content_type: str
    properties: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A message that was set aside; `code` is the broker's reason code, where it gave one."""

    key: int
    stream: Stream
    seq: int
    reason: str
    code: int | None
    at_wall_ns: int
    made_wall_ns: int
    content_type: str
    properties: Mapping[str, str]
    body: bytes


class Listing:
    """One look into the file; all answers are of the moment at which the first was asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # The file of an older agent, which only an agent migrates.
        self._at_broker = "0" if _AT_BROKER in missing_columns(connection) else "at_broker > 0"

    def meta(self) -> Meta:
        return read_meta(self._connection)

    def worn(self) -> tuple[Worn, Worn]:
        """What was written in all, and in the last day of the latest run."""
        return read_worn(self._connection)

    def streams(self) -> list[Tally]:
        """Each stream's account, by name."""
        return sorted(read_tallies(self._connection).values(), key=lambda tally: tally.stream)

    def waiting(self, *, stream: str | None, limit: int) -> list[WaitingRow]:
        """What waits, in the order in which it would be sent."""
        where = "WHERE :stream IS NULL OR name = :stream ORDER BY rank, key LIMIT :limit"
        return self._waiting(where, {"stream": stream, "limit": limit}, body="x''")

    def at_broker(self) -> dict[Stream, int]:
        """Of each stream that has such, the rows that wait for their consumer only."""
        found = self._connection.execute(
            "SELECT name, count(*) FROM message JOIN stream ON stream.id = message.stream"  # noqa: S608
            f" WHERE {self._at_broker} GROUP BY name"
        )
        return dict(found.fetchall())

    def refused(self, *, limit: int) -> list[RefusedRow]:
        """What was set aside, the newest first."""
        return self._refused("ORDER BY key DESC LIMIT :limit", {"limit": limit})

    def losses(self, *, limit: int) -> list[Entry]:
        """The ledger, the newest first."""
        return read_entries(self._connection, "ORDER BY id DESC LIMIT ?", (limit,))

    def show(self, key: int) -> WaitingRow | RefusedRow | None:
        """One message with its body; None: it neither waits nor was set aside."""
        found: Sequence[WaitingRow | RefusedRow] = [
            *self._waiting("WHERE key = :key", {"key": key}, body="body"),
            *self._refused("WHERE key = :key", {"key": key}),
        ]
        return found[0] if found else None

    def _waiting(self, where: str, values: Mapping[str, object], *, body: str) -> list[WaitingRow]:
        found = self._connection.execute(
            _WAITING.format(where=where, body=body, at_broker=self._at_broker), values
        )
        return [
            WaitingRow(
                *(key, stream, seq, RANKS[rank], size, made, expiry_s, bool(kept)),
                *(kind or JSON_TYPE, _properties(properties), payload),
            )
            for key, stream, seq, rank, size, made, expiry_s, kept, kind, properties, payload in found
        ]

    def _refused(self, where: str, values: Mapping[str, object]) -> list[RefusedRow]:
        found = self._connection.execute(_REFUSED.format(where=where), values)
        return [
            RefusedRow(
                *(key, stream, seq, reason, code, at, made),
                content_type=content_type or JSON_TYPE,
                properties=_properties(properties),
                body=body,
            )
            for key, stream, seq, reason, code, at, made, content_type, properties, body in found
        ]


@contextmanager
def open_listing(path: Path) -> Iterator[Listing]:
    """Open the file at `path` for reading.

    Raises:
        ConfigError: there is no outbox at `path`, or it cannot be read.
    """
    try:
        found = path.is_file()
    except OSError as error:  # a folder on the way is closed to this user
        raise ConfigError(
            f"the outbox at {path} cannot be read: {error.strerror}", code=Code.FILE, path=str(path)
        ) from error
    if not found:
        raise ConfigError(
            f"there is no outbox at {path}; the agent makes it when it first runs, in its state_dir",
            code=Code.FILE,
            path=str(path),
        )
    connection = None
    try:
        connection = _connect(path)
        if missing := sorted(missing_columns(connection) - {_AT_BROKER}):
            raise ConfigError(
                f"{path} is no outbox of this agent: it lacks {', '.join(missing[:3])}",
                code=Code.FILE,
                path=str(path),
            )
        connection.execute("BEGIN")
        yield Listing(connection)
    except (sqlite3.Error, DamagedStoreError) as error:
        raise ConfigError(
            f"the outbox at {path} cannot be read: {error}; "
            "if it is damaged, the agent replaces it at its next start",
            code=Code.FILE,
            path=str(path),
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only. While no agent runs there is no log, and the file can be taken as it lies.

    SQLite would want to make an index of the log beside it, for which the folder may not be writable.
    """
    uri = path.absolute().as_uri()
    options = "mode=ro" if any(side.exists() for side in side_files(path)) else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{uri}?{options}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
    return connection


def _properties(text: str | None) -> Mapping[str, str]:
    properties: dict[str, Any] = json.loads(text) if text else {}
    return properties
