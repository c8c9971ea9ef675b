"""What SQLite's errors mean to an outbox: the disk refuses for now, or the file is damaged."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from agent.domain.errors import Code, NanofleetError, TransientError

Fault = Literal["refused", "damaged"]

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSED: Final = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL),
}


class DamagedStoreError(NanofleetError):
    """The file does not hold what an outbox wrote: it has to be replaced, and its loss declared."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=Code.FILE)


class DiskRefusedError(TransientError):
    """The disk does not take writes, or gives no reads, at the moment. Nothing was changed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=Code.DISK)


class DiskFullError(DiskRefusedError):
    """There is no room; making some may help."""


def fault_of(error: sqlite3.Error) -> Fault | None:
    """Which of the two it is; None: neither, but a mistake of ours.

    Source: https://www.sqlite.org/rescode.html; the low byte is the primary result code.
    """
    code = getattr(error, "sqlite_errorcode", None)  # the module's own complaints carry none
    if code is None:
        return None
    primary = code & 0xFF
    if primary in _DAMAGED:
        return "damaged"
    return "refused" if primary in _REFUSED else None


def translate(error: sqlite3.Error) -> NanofleetError | sqlite3.Error:
    """The same error in the agent's own terms, to be raised from it; one that is our mistake stays itself."""
    match fault_of(error):
        case "damaged":
            return DamagedStoreError(str(error))
        case "refused":
            kind = DiskFullError if error.sqlite_errorcode == sqlite3.SQLITE_FULL else DiskRefusedError
            return kind(f"{error} ({getattr(error, 'sqlite_errorname', '?')})")
        case None:
            return error


@contextmanager
def translated() -> Iterator[None]:
    """Raise what `translate` makes of SQLite's errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error
