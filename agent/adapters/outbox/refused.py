"""Rows that the broker will never take: set aside, within bounds, for a person to look at."""

import sqlite3
from typing import Final

from agent.adapters.outbox.work import Refusal

MOST_ROWS: Final = 1_000
MOST_BYTES: Final = 16 << 20


def set_aside(connection: sqlite3.Connection, refusal: Refusal, *, at_wall_ns: int) -> None:
    """Copy the row of `refusal.key`; the oldest copies make room. Their loss has been declared already."""
    connection.execute(
        "INSERT INTO refused"
        " (key, stream, seq, reason, code, at_wall_ns, made_wall_ns, content_type, properties, body)"
        " SELECT key, stream.name, seq, ?, ?, ?, made_wall_ns, content_type, properties, body"
        " FROM message JOIN stream ON stream.id = message.stream WHERE key = ?",
        (refusal.reason, refusal.code, at_wall_ns, refusal.key),
    )
    rows, size = connection.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM refused").fetchone()
    while rows > MOST_ROWS or size > MOST_BYTES:
        key, length = connection.execute(
            "SELECT key, length(body) FROM refused ORDER BY key LIMIT 1"
        ).fetchone()
        connection.execute("DELETE FROM refused WHERE key = ?", (key,))
        rows, size = rows - 1, size - length


def count(connection: sqlite3.Connection) -> int:
    """Rows set aside and still kept."""
    rows: int = connection.execute("SELECT count(*) FROM refused").fetchone()[0]
    return rows
