"""What can still be learnt from an outbox file that is damaged, before it is moved aside."""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.outbox.books import Tally, read_tallies
from agent.adapters.outbox.faults import DamagedStoreError
from agent.adapters.outbox.ledger import UNKNOWN_STREAM, Drop, read_entries
from agent.adapters.outbox.mark import Mark
from agent.adapters.outbox.meta import read_meta
from agent.adapters.outbox.schema import side_files

ASIDE_SUFFIX: Final = ".damaged"


@dataclass(frozen=True, slots=True)
class Salvage:
    """`drops` is what the old generation loses; `session` and `next_key` go on where they were, if known."""

    drops: tuple[Drop, ...]
    epoch: str | None = None
    session: int | None = None
    next_key: int | None = None


def salvage(path: Path, mark: Mark | None) -> Salvage:
    """Read what a damaged file and its mark still tell. Any part may be missing; never raises for it."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        return _with_forgotten(_read(connection), mark)
    return Salvage(drops=_unknown(None))


def move_aside(path: Path) -> Path:
    """Rename the file, its log and its index; one that was moved aside before is replaced.

    The file goes first: without it, its log is known to be a stray, but a file without its log would be
    taken for whole, and would give its last numbers again.
    """
    aside = path.with_name(path.name + ASIDE_SUFFIX)
    for old, new in zip((path, *side_files(path)), (aside, *side_files(aside)), strict=True):
        if old.exists():
            old.replace(new)
    return aside


def _read(connection: sqlite3.Connection) -> Salvage:
    epoch, session, next_key = None, None, None
    with suppress(sqlite3.Error, DamagedStoreError):
        meta = read_meta(connection)
        epoch, session, next_key = meta.epoch, meta.session, meta.next_key
    drops: tuple[Drop, ...] = ()
    with suppress(sqlite3.Error, DamagedStoreError):
        tallies = read_tallies(connection).values()
        drops = tuple(_waiting(tally, epoch) for tally in tallies if tally.waiting > 0)
    with suppress(sqlite3.Error, TypeError):
        drops += tuple(entry.drop for entry in read_entries(connection, "WHERE told = 0", ()))
    return Salvage(drops=drops or _unknown(epoch), epoch=epoch, session=session, next_key=next_key)


def _with_forgotten(found: Salvage, mark: Mark | None) -> Salvage:
    """What a damaged log has forgotten is lost, too; by keys, for nobody knows of which stream it was."""
    if mark is None or found.epoch != mark.epoch or found.next_key is None or found.session is None:
        return found
    drops = found.drops
    if forgotten := max(0, mark.next_key - found.next_key):
        drops = tuple(drop for drop in drops if drop != _nothing_known(found.epoch))
        drops += (Drop(UNKNOWN_STREAM, found.epoch, None, None, forgotten, "damaged"),)
    return Salvage(
        drops=drops,
        epoch=found.epoch,
        session=max(found.session, mark.session),
        next_key=max(found.next_key, mark.next_key),
    )


def _waiting(tally: Tally, epoch: str | None) -> Drop:
    return Drop(tally.stream, epoch, None, None, tally.waiting, "damaged")


def _unknown(epoch: str | None) -> tuple[Drop, ...]:
    """Nobody knows of which stream, nor how much."""
    return (_nothing_known(epoch),)


def _nothing_known(epoch: str | None) -> Drop:
    return Drop(UNKNOWN_STREAM, epoch, None, None, 0, "damaged")
