"""Opening the outbox file: one writer, a check of what is found, and a fresh start where that is damaged."""

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from ulid import ULID

from agent.adapters.durable import install_file
from agent.adapters.outbox.books import read_tallies
from agent.adapters.outbox.faults import DamagedStoreError, DiskRefusedError, translate
from agent.adapters.outbox.ledger import Ledger
from agent.adapters.outbox.mark import Mark, MarkFile
from agent.adapters.outbox.meta import Meta, check_keys, read_meta, write_meta
from agent.adapters.outbox.order import mend_numbers
from agent.adapters.outbox.salvage import Salvage, move_aside, salvage
from agent.adapters.outbox.schema import (
    VERSION,
    connect,
    migrate,
    missing_columns,
    side_files,
    transaction,
    version,
)
from agent.domain.errors import Code, ConfigError
from agent.ports import Clock

log = structlog.get_logger(__name__)

CHECKED_BYTES: Final = 64 << 20
"""A file up to this size is checked whenever it is opened, a larger one only after a power cut."""

_FIRST_COMMIT_BYTES: Final = 64 << 10
"""More than a log holds that was killed while its first commit was being written."""

_NO_LOSS: Final = Salvage(drops=())


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file, not yet marked as in use. `cut`: the last commits of the run before may be undone."""

    connection: sqlite3.Connection
    meta: Meta
    cut: bool


def lock(path: Path) -> int:
    """Keep every other agent away from the file at `path`; the lock lasts as long as the descriptor is open.

    The file itself cannot carry it: closing any descriptor of it would end SQLite's own locks.

    Raises:
        ConfigError: another process has it, or the folder cannot be written to.
        DiskRefusedError: the disk is full or read-only.
    """
    place = path.with_name(f"{path.name}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise ConfigError(
            f"the outbox at {path} cannot be opened: {error.strerror}; "
            "its folder has to belong to the agent's user",
            code=Code.DISK,
            path=str(path),
        ) from error
    except OSError as error:
        raise DiskRefusedError(f"{place}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"the outbox at {path} is in use by another agent; give each node a state_dir of its own",
            code=Code.BUSY,
            path=str(path),
        ) from error
    return descriptor


def open_file(path: Path, *, clock: Clock, first_key: int, broken: str | None) -> Opened:
    """The file at `path`, sound and up to date; a new one where there is none or it is damaged.

    A new one begins a new epoch, with keys from `first_key` on. A damaged one is moved aside, and what it
    loses stands in the new one's ledger. `broken` says what is known to be wrong with it already.

    Raises:
        ConfigError: a newer agent has left the file in a form that this one cannot use.
        DiskRefusedError: the disk gives or takes nothing at the moment.
    """
    try:
        if broken is not None:
            _replace(path, broken, clock=clock, first_key=first_key)
        elif not path.exists():
            _begin_anew(path, clock=clock, first_key=first_key)
        try:
            return _open_sound(path, clock=clock)
        except DamagedStoreError as error:
            _replace(path, error.message, clock=clock, first_key=first_key)
        return _open_sound(path, clock=clock)
    except DamagedStoreError as error:
        raise DiskRefusedError(f"a new file at {path} is damaged already: {error.message}") from error
    except OSError as error:
        raise DiskRefusedError(f"{path}: {error.strerror}") from error


def _open_sound(path: Path, *, clock: Clock) -> Opened:
    connection = None
    try:
        log_bytes = _size(side_files(path)[0])
        connection = connect(path)
        opened = _check(connection, path, clock, log_bytes=log_bytes)
    except sqlite3.Error as error:
        _close(connection)
        translated = translate(error)
        if isinstance(translated, DiskRefusedError):
            raise translated from error
        raise DamagedStoreError(str(error)) from error
    except (DamagedStoreError, ConfigError):
        _close(connection)
        raise
    return opened


def _check(connection: sqlite3.Connection, path: Path, clock: Clock, *, log_bytes: int) -> Opened:
    found = version(connection)
    if found == 0:
        raise DamagedStoreError("it holds no outbox")
    meta = read_meta(connection)
    cut = _was_cut(connection, meta, clock, log_bytes=log_bytes)
    is_small = path.stat().st_size <= CHECKED_BYTES
    if is_small or cut:
        # The quick one does not hold indexes against their tables: a row may be there that no index finds.
        check = "integrity_check" if is_small else "quick_check"
        verdict = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
        if verdict != "ok":
            raise DamagedStoreError(str(verdict).replace("\n", "; "))
    migrate(connection)
    missing = sorted(missing_columns(connection))
    if missing and found > VERSION:
        raise ConfigError(
            f"the outbox at {path} was written by a newer agent (schema {found}, this one knows {VERSION}) "
            f"and lacks {', '.join(missing)}; install that agent again, or move the file away",
            code=Code.VERSION,
            path=str(path),
        )
    if missing:
        raise DamagedStoreError(f"it lacks {', '.join(missing)}")
    check_keys(connection, meta)
    _check_nothing_is_forgotten(meta, MarkFile(path).read(), clock)
    read_tallies(connection)
    if is_small or cut:
        mend_numbers(connection)
    return Opened(connection, meta, cut)


def _was_cut(connection: sqlite3.Connection, meta: Meta, clock: Clock, *, log_bytes: int) -> bool:
    """Whether commits may be undone: the machine stopped under the file, or its log is lost.

    A log of which nothing can be used, beside a file that was left in order, is one that was damaged: the run
    that wrote it has marked the file as in use with its first commit, and that is gone as well. Only a run of
    this boot may have been killed while it wrote that.
    """
    if not meta.clean:
        return meta.boot != clock.boot
    _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return frames <= 0 and log_bytes > (_FIRST_COMMIT_BYTES if meta.boot == clock.boot else 0)


def _check_nothing_is_forgotten(meta: Meta, mark: Mark | None, clock: Clock) -> None:
    """Only of this boot: a power cut may undo commits that were not synced, and a mark that was not.

    Raises:
        DamagedStoreError: commits are missing that were there when the file was in use last.
    """
    if mark is None or mark.epoch != meta.epoch or mark.boot != clock.boot:
        return
    if mark.next_key > meta.next_key or mark.session > meta.session:
        raise DamagedStoreError(
            f"its log is damaged: it ends at key {meta.next_key - 1} and session {meta.session}, "
            f"but {mark.next_key - 1} and {mark.session} had been committed"
        )


def _begin_anew(path: Path, *, clock: Clock, first_key: int) -> None:
    """There is no file: take the one that an interrupted replacement has left ready, or make one."""
    ready = _new_name(path)
    if _is_complete(ready):
        _install(ready, path)
    elif any(side.exists() for side in side_files(path)):
        _replace(path, "the file is gone, but its log is there", clock=clock, first_key=first_key)
    else:
        _make(ready, _NO_LOSS, clock=clock, first_key=first_key)
        _install(ready, path)


def _replace(path: Path, why: str, *, clock: Clock, first_key: int) -> None:
    found = salvage(path, MarkFile(path).read())
    ready = _new_name(path)
    _make(ready, found, clock=clock, first_key=first_key)
    aside = _install(ready, path)
    log.error(
        "outbox.store_lost",
        path=str(path),
        moved_to=str(aside),
        why=why,
        lost_epoch=found.epoch,
        lost_rows=sum(drop.count for drop in found.drops),
    )


def _make(ready: Path, found: Salvage, *, clock: Clock, first_key: int) -> None:
    """A new file, complete before it has its name."""
    ready.unlink(missing_ok=True)
    now = clock.now()
    # Where a store was lost together with its count of sessions, the clock gives a number above it.
    session = found.session if found.session is not None else now.wall_ns // 10**9 if found.drops else 0
    try:
        with closing(sqlite3.connect(ready, isolation_level=None)) as connection:
            migrate(connection)
            with transaction(connection, durable=True):
                ledger = Ledger(connection)
                for drop in found.drops:
                    ledger.record(drop, at_wall_ns=now.wall_ns)
                write_meta(
                    connection,
                    epoch=str(ULID.from_timestamp(now.wall_ns / 1e9)),
                    session=session,
                    next_key=max(first_key, found.next_key or 1),
                    boot=clock.boot,
                    clean=1,
                )
    except sqlite3.Error as error:
        with suppress(OSError):
            ready.unlink(missing_ok=True)
        raise translate(error) from error


def _install(ready: Path, path: Path) -> Path:
    aside = move_aside(path)
    install_file(ready, path)
    return aside


def _is_complete(ready: Path) -> bool:
    if not ready.exists():
        return False
    with suppress(sqlite3.Error, DamagedStoreError), closing(sqlite3.connect(ready)) as connection:
        read_meta(connection)
        return True
    return False


def _new_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()
