"""The outbox file: its tables, how they grow from version to version, and how a connection is set up."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.ports import Priority

RANKS: Final[tuple[Priority, ...]] = ("loss", "event", "result", "snapshot", "telemetry", "detection")
"""A row's rank is its priority's place here: 0 is sent first and dropped last."""

STRICT: Final[frozenset[Priority]] = frozenset({"loss", "event", "result"})
"""Synced to the disk with their own commit; the others with the next strict commit or checkpoint."""

_VERSION_1: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE boot (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    next_seq INTEGER NOT NULL DEFAULT 0,
    ceiling INTEGER NOT NULL DEFAULT 0,
    unnumbered INTEGER NOT NULL DEFAULT 0,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    waiting_bytes INTEGER NOT NULL DEFAULT 0,
    crc INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    rank INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    synced INTEGER NOT NULL,
    made_wall_ns INTEGER NOT NULL,
    made_monotonic_ns INTEGER NOT NULL,
    captured_wall_ns INTEGER,
    captured_monotonic_ns INTEGER,
    committed_ns INTEGER NOT NULL,
    expiry_s INTEGER,
    content_type TEXT,
    properties TEXT,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX message_by_rank ON message (rank);
CREATE TABLE refused (
    key INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    code INTEGER,
    at_wall_ns INTEGER NOT NULL,
    made_wall_ns INTEGER NOT NULL,
    content_type TEXT,
    properties TEXT,
    body BLOB NOT NULL
);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    lost_epoch TEXT,
    first INTEGER,
    last INTEGER,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_wall_ns INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ledger_untold ON ledger (id) WHERE told = 0;
"""

# To an older agent a row is what it was: it ignores the column, sends the row again, and takes it out on
# PUBACK. The first index costs a twentieth of an insert; the second is empty but in stored mode.
_VERSION_2: Final = """
ALTER TABLE message ADD COLUMN at_broker INTEGER NOT NULL DEFAULT 0;
CREATE INDEX message_to_send ON message (rank) WHERE at_broker <> 1;
CREATE INDEX message_at_broker ON message (stream, seq) WHERE at_broker > 0;
"""

TO_SEND: Final = 0
AT_BROKER: Final = 1
SEND_AGAIN: Final = 2
"""`message.at_broker`: not acknowledged by the broker yet; acknowledged, and kept for its consumer; the same,
but to be sent once more. No check sum covers it, so that an older agent finds its own."""

MIGRATIONS: Final = (_VERSION_1, _VERSION_2)
"""Each takes the file one version up. They only expand, so that an older agent can go on with a newer file:
a new column has a default, a table or column is never renamed or dropped."""

VERSION: Final = len(MIGRATIONS)

_COLUMNS: Final = {
    "meta": {"name", "value"},
    "boot": {"id", "name"},
    "stream": {
        *("id", "name", "next_seq", "ceiling", "unnumbered", "acknowledged", "lost", "waiting_bytes", "crc"),
    },
    "message": {
        *("key", "rank", "stream", "seq", "size", "boot", "synced", "made_wall_ns", "made_monotonic_ns"),
        *("captured_wall_ns", "captured_monotonic_ns", "committed_ns", "expiry_s", "content_type"),
        *("properties", "crc", "body", "at_broker"),
    },
    "refused": {
        *("key", "stream", "seq", "reason", "code", "at_wall_ns", "made_wall_ns"),
        *("content_type", "properties", "body"),
    },
    "ledger": {"id", "stream", "lost_epoch", "first", "last", "count", "reason", "at_wall_ns", "told"},
}
"""What this agent reads and writes. A file of a newer version serves as long as it has these."""

BUSY_TIMEOUT_S: Final = 1.0
_WAL_BYTES: Final = 4 << 20
"""What the log is cut back to; SQLite moves it into the file when it has 1,000 pages, which is as much."""


def side_files(path: Path) -> tuple[Path, Path]:
    """The write-ahead log and its index, which belong to the file at `path`."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes; transactions begin and end where the code says so.

    In WAL a commit under synchronous=NORMAL outlives the process but not a power cut, and costs no sync;
    one under FULL syncs itself and everything before it. See `transaction`.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, cached_statements=256)
    # A flipped bit may break UTF-8; the check sums find it, an exception here would not say what it is.
    connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        # Debian builds SQLite to overwrite what is deleted, which would write every acknowledged body twice.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, *, durable: bool) -> Iterator[None]:
    """All or nothing. `durable`: on the disk itself, with all that was committed before, once it ends."""
    # SQLite does not let the level be changed inside a transaction.
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # not committed; after some errors SQLite has rolled back by itself
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def version(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 where there is no schema."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(connection: sqlite3.Connection) -> None:
    """Take the file up to `VERSION`, each step in a transaction of its own; a newer file is left as it is."""
    for number, step in enumerate(MIGRATIONS[version(connection) :], start=version(connection) + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")


def missing_columns(connection: sqlite3.Connection) -> set[str]:
    """What this agent needs and the file does not have, as ``table.column``.

    A file that was not migrated, because it is only looked at, lacks what later versions brought.
    """
    missing = set()
    for table, columns in _COLUMNS.items():
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing |= {f"{table}.{column}" for column in columns - found}
    return missing
