"""Waiting messages as rows of the file: written in one statement for many, read back and checked."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.adapters.outbox.faults import DamagedStoreError
from agent.adapters.outbox.schema import RANKS, SEND_AGAIN
from agent.domain.ids import Stream
from agent.domain.stamp import Stamp
from agent.ports import Draft, Row

ROW_OVERHEAD_BYTES: Final = 160
"""What a row takes in the file beside its body and properties, rounded up: columns, cell headers, index
entry, and the slack of pages that fill in order."""

JSON_TYPE: Final = "application/json"

_COLUMNS: Final = (
    *("key", "rank", "stream", "seq", "size", "boot", "synced", "made_wall_ns", "made_monotonic_ns"),
    *("captured_wall_ns", "captured_monotonic_ns", "committed_ns", "expiry_s", "content_type", "properties"),
    *("crc", "body"),
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)}, at_broker FROM message "  # noqa: S608

_CHUNKS: Final = (64, 8, 1)
"""Rows per statement. Each step of a statement gives the interpreter lock away, and under a busy event loop
it may take 5 ms to come back, so many rows a step; few sizes, so that the statements stay cached."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a row stands in the accounts.

    Raises:
        DamagedStoreError: the file gave something else than numbers.
    """

    key: int
    stream_id: int
    seq: int
    size: int

    def __post_init__(self) -> None:
        if not type(self.key) is type(self.stream_id) is type(self.seq) is type(self.size) is int:
            raise DamagedStoreError("a row has something else than numbers where its numbers belong")


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read; `row` is None where its check sum is wrong."""

    row: Row | None
    placed: Placed


@dataclass(frozen=True, slots=True)
class Moment:
    """When and in which boot a transaction writes."""

    at: Stamp
    boot_id: int
    synced: bool


def size_of(draft: Draft) -> int:
    """What the draft will take in the file, in bytes, nearly."""
    properties = sum(len(name) + len(value) + 6 for name, value in draft.properties.items())
    return len(draft.body) + properties + ROW_OVERHEAD_BYTES


def values_of(draft: Draft, placed: Placed, moment: Moment) -> tuple[Any, ...]:
    """The columns of a new row."""
    captured = draft.captured
    head = (
        *(placed.key, RANKS.index(draft.priority), placed.stream_id, placed.seq, placed.size),
        *(moment.boot_id, int(moment.synced), draft.made.wall_ns, draft.made.monotonic_ns),
        *((captured.wall_ns, captured.monotonic_ns) if captured else (None, None)),
        *(moment.at.monotonic_ns, draft.expiry_s),
        None if draft.content_type == JSON_TYPE else draft.content_type,
        json.dumps(dict(draft.properties)) if draft.properties else None,
    )
    return (*head, _crc(head, draft.body), draft.body)


def insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write all `rows`, each as `values_of` made it."""
    place = 0
    for chunk in _CHUNKS:
        while len(rows) - place >= chunk:
            values = [value for row in rows[place : place + chunk] for value in row]
            connection.execute(_insert_statement(chunk), values)
            place += chunk


def select(
    connection: sqlite3.Connection,
    where: str,
    values: Sequence[object],
    *,
    epoch: str,
    streams: Mapping[int, Stream],
    boots: Mapping[int, str],
) -> list[Stored]:
    """Rows that `where`, an SQL clause of ours, picks."""
    return [
        _decode(columns, epoch=epoch, streams=streams, boots=boots)
        for columns in connection.execute(_SELECT + where, values).fetchall()
    ]


def place(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Placed]:
    """The same, but only where the rows stand in the accounts."""
    found = connection.execute(f"SELECT key, stream, seq, size FROM message {where}", values)  # noqa: S608
    return [Placed(*columns) for columns in found.fetchall()]


def delete(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Remove the rows of `keys`, in one statement."""
    connection.execute(
        "DELETE FROM message WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
    )


def acknowledge(connection: sqlite3.Connection, keys: Sequence[int]) -> list[tuple[int, int, int]]:
    """Remove the rows of `keys` that there are; (stream, rows, bytes) of each stream that had some."""
    listed = json.dumps(keys)
    gone = connection.execute(
        "SELECT stream, count(*), sum(size) FROM message"
        " WHERE key IN (SELECT value FROM json_each(?)) GROUP BY stream",
        (listed,),
    ).fetchall()
    if gone:
        delete(connection, keys)
    return gone


def _insert_statement(rows: int) -> str:
    marks = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO message ({', '.join(_COLUMNS)}) VALUES {', '.join([marks] * rows)}"  # noqa: S608


def _decode(
    columns: tuple[Any, ...], *, epoch: str, streams: Mapping[int, Stream], boots: Mapping[int, str]
) -> Stored:
    *head, crc, body, at_broker = columns
    key, rank, stream_id, seq, size, boot_id, synced, made_wall, made_monotonic, *rest = head
    captured_wall, captured_monotonic, committed_ns, expiry_s, content_type, properties = rest
    placed = Placed(key, stream_id, seq, size)
    intact = isinstance(body, bytes) and crc == _crc(tuple(head), body)
    if not intact or stream_id not in streams or boot_id not in boots:
        return Stored(row=None, placed=placed)
    row = Row(
        key=key,
        epoch=epoch,
        seq=seq,
        stream=streams[stream_id],
        priority=RANKS[rank],
        body=body,
        content_type=content_type or JSON_TYPE,
        expiry_s=expiry_s,
        properties=json.loads(properties) if properties else {},
        made=Stamp(made_wall, made_monotonic),
        captured=None if captured_wall is None else Stamp(captured_wall, captured_monotonic),
        committed_ns=committed_ns,
        boot=boots[boot_id],
        synced=bool(synced),
        again=at_broker == SEND_AGAIN,
    )
    return Stored(row=row, placed=placed)


def _crc(head: tuple[Any, ...], body: bytes) -> int:
    """SQLite has no check sum on its pages: without this one a flipped bit would be published."""
    return zlib.crc32(body, zlib.crc32(repr(head).encode()))
