"""The few single values of an outbox file."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from ulid import ULID

from agent.adapters.outbox.faults import DamagedStoreError

_MOST_BOOTS: Final = 64
"""Beyond this, boots of which no row is left are forgotten when the file is opened."""


@dataclass(frozen=True, slots=True)
class Meta:
    """`next_key` is the key that the next row gets; `boot` and `clean` tell how the file was left."""

    epoch: str
    session: int
    next_key: int
    boot: str
    clean: bool


def read_meta(connection: sqlite3.Connection) -> Meta:
    """Raises: DamagedStoreError (a value is missing, or cannot be what was written)."""
    found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    try:
        meta = Meta(
            epoch=str(ULID.from_str(found["epoch"])),
            session=int(found["session"]),
            next_key=int(found["next_key"]),
            boot=str(found["boot"]),
            clean=bool(int(found["clean"])),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedStoreError(f"the outbox's own figures are damaged: {error!r}") from error
    if meta.next_key < 1 or meta.session < 0:
        raise DamagedStoreError("the outbox's own figures are damaged: keys or sessions would be used twice")
    return meta


def check_keys(connection: sqlite3.Connection, meta: Meta) -> None:
    """Raises: DamagedStoreError (a row has the key that the next row would get, or one above it)."""
    top_key: int = connection.execute("SELECT coalesce(max(key), 0) FROM message").fetchone()[0]
    if meta.next_key <= top_key:
        raise DamagedStoreError(f"the outbox's own figures are damaged: key {top_key} would be used twice")


def write_meta(connection: sqlite3.Connection, **values: str | int) -> None:
    """Set single values; inside a transaction."""
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        values.items(),
    )


def read_boots(connection: sqlite3.Connection) -> dict[int, str]:
    """The boots that rows may be of, by their number in the file."""
    return dict(connection.execute("SELECT id, name FROM boot").fetchall())


def enter_boot(connection: sqlite3.Connection, name: str) -> int:
    """The number of this boot, which is entered where it is new; inside a transaction."""
    if connection.execute("SELECT count(*) FROM boot").fetchone()[0] > _MOST_BOOTS:
        connection.execute("DELETE FROM boot WHERE id NOT IN (SELECT boot FROM message)")
    connection.execute("INSERT OR IGNORE INTO boot (name) VALUES (?)", (name,))
    number: int = connection.execute("SELECT id FROM boot WHERE name = ?", (name,)).fetchone()[0]
    return number
