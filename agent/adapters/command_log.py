"""The ids of commands and how each ended, in an SQLite file of their own."""

import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import CommandOutcome, KeptCommand

log = structlog.get_logger(__name__)

COMMANDS_FILE: Final = "commands.sqlite3"

KEPT_S: Final = 86_400.0
MOST_ENTERED: Final = 10_000
MOST_REPEATABLE: Final = 1_000
"""Of commands that change nothing when they are done again only so many: somebody who looks after the node
every few seconds must not use up the ids of those which change something."""

MOST_REFUSED: Final = 1_000
"""Of commands that never ran only so many: a second one with their id harms nothing, and whoever is not
allowed to command this node must not be able to push out the ids of those who are."""

MOST_OUTPUT_BYTES: Final = 4 << 20
"""Of all outputs together; the oldest are forgotten, their outcomes are not."""

_CODES: Final = {code.value: code for code in Code}
_OUTPUT_GONE: Final = "what it answered is not kept any more"
_BUSY_TIMEOUT_S: Final = 1.0

# The oldest has the lowest number, whatever the clock says.
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE command (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    op TEXT NOT NULL,
    entered INTEGER NOT NULL,
    at_wall_s REAL NOT NULL,
    outcome TEXT,
    output TEXT,
    output_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX command_unfinished ON command (number) WHERE outcome IS NULL;
CREATE INDEX command_with_output ON command (number) WHERE output_bytes > 0;
PRAGMA user_version = 1;
COMMIT;
"""

# Parameters: repeatable operations as JSON, and whether one of these, or one of the others, is meant.
_COUNT: Final = """
SELECT count(*) FROM command WHERE entered = 1 AND (op IN (SELECT value FROM json_each(?))) = ?"""
_EVICT: Final = """
DELETE FROM command WHERE number IN (
    SELECT number FROM command WHERE entered = 1 AND (op IN (SELECT value FROM json_each(?))) = ?
    AND outcome IS NOT NULL AND at_wall_s <= ? ORDER BY number LIMIT ?)"""


class SqliteCommandLog:
    """Fulfils `ports.CommandLog` with a file in `state_dir`, which is opened at the first call.

    A damaged file is moved aside, and told. `wall_s` is the time by which a day is counted; ids go only when
    there are too many, so that most are kept for much longer. Of the operations `repeatable` the oldest go
    before a day is over.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        repeatable: Collection[str] = (),
        wall_s: Callable[[], float] = time.time,
        most_entered: int = MOST_ENTERED,
        most_repeatable: int = MOST_REPEATABLE,
        most_refused: int = MOST_REFUSED,
        most_output_bytes: int = MOST_OUTPUT_BYTES,
    ) -> None:
        self.file = state_dir / COMMANDS_FILE
        self._wall_s = wall_s
        self._repeatable_ops = frozenset(repeatable)
        self._repeatable = json.dumps(sorted(repeatable))
        self._most_entered = most_entered
        self._most_repeatable = most_repeatable
        self._most_refused = most_refused
        self._most_output_bytes = most_output_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def enter(self, op: str, command_id: str) -> KeptCommand | None:
        with self._writing(durable=True) as connection:
            known = _find(connection, command_id)
            if known is None:
                self._make_room(connection, is_repeatable=op in self._repeatable_ops)
                self._insert(connection, op, command_id, entered=True)
        return known

    def refuse(self, op: str, command_id: str, outcome: CommandOutcome) -> KeptCommand | None:
        with self._writing(durable=False) as connection:
            known = _find(connection, command_id)
            if known is None:
                self._insert(connection, op, command_id, entered=False)
                self._put(connection, command_id, outcome)
                connection.execute(
                    "DELETE FROM command WHERE entered = 0 AND number <="
                    " (SELECT number FROM command WHERE entered = 0 ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (self._most_refused,),
                )
        return known

    def finish(self, command_id: str, outcome: CommandOutcome) -> None:
        with self._writing(durable=True) as connection:
            self._put(connection, command_id, outcome)

    def unfinished(self) -> Sequence[KeptCommand]:
        with self._writing(durable=False) as connection:
            found = connection.execute(
                "SELECT op, id FROM command WHERE outcome IS NULL ORDER BY number"
            ).fetchall()
        return [KeptCommand(op, command_id, None) for op, command_id in found]

    def close(self) -> None:
        with self._lock:
            self._forget_connection()

    def _insert(self, connection: sqlite3.Connection, op: str, command_id: str, *, entered: bool) -> None:
        connection.execute(
            "INSERT INTO command (id, op, entered, at_wall_s) VALUES (?, ?, ?, ?)",
            (command_id, op, int(entered), self._wall_s()),
        )

    def _make_room(self, connection: sqlite3.Connection, *, is_repeatable: bool) -> None:
        """Raises: RefusedError, if what could go is not a day old."""
        kind = (self._repeatable, is_repeatable)
        most = self._most_repeatable if is_repeatable else self._most_entered
        count: int = connection.execute(_COUNT, kind).fetchone()[0]
        if count < most:
            return
        latest_s = math.inf if is_repeatable else self._wall_s() - KEPT_S
        gone = connection.execute(_EVICT, (*kind, latest_s, count - most + 1))
        if not gone.rowcount:
            message = f"{count} commands ran within a day, and the ids of no more are kept"
            raise RefusedError(message, code=Code.BUSY)

    def _put(self, connection: sqlite3.Connection, command_id: str, outcome: CommandOutcome) -> None:
        brief = asdict(outcome)
        output = brief.pop("output")
        told = json.dumps(output) if output else ""
        connection.execute(
            "UPDATE command SET outcome = ?, output = ?, output_bytes = ? WHERE id = ?",
            (json.dumps(brief), told or None, len(told), command_id),
        )
        if told:
            self._forget_outputs(connection)

    def _forget_outputs(self, connection: sqlite3.Connection) -> None:
        total = 0
        for number, size in connection.execute(
            "SELECT number, output_bytes FROM command WHERE output_bytes > 0 ORDER BY number DESC"
        ).fetchall():
            total += size
            if total > self._most_output_bytes:
                connection.execute(
                    "UPDATE command SET output = '', output_bytes = 0 WHERE number = ?", (number,)
                )

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """One transaction. `durable`: on the disk itself once it ends.

        Raises:
            TransientError: the disk refuses; nothing was changed.
        """
        with self._lock:
            try:
                connection = self._connection or self._open()
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        with suppress(sqlite3.Error):
                            connection.execute("ROLLBACK")
            except (sqlite3.Error, OSError, ValueError, LookupError, TypeError) as error:
                self._forget_connection()
                raise TransientError(
                    f"{self.file} cannot be used: {error}", code=Code.SPACE, path=str(self.file)
                ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            connection = _connect(self.file)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._move_aside(error)
            connection = _connect(self.file)
        self._connection = connection
        return connection

    def _move_aside(self, error: Exception) -> None:
        aside = self.file.with_name(f"{self.file.name}.damaged")
        log.error(
            "commands.log_damaged",
            file=str(self.file),
            moved_to=str(aside),
            error=str(error),
            consequence="a command that ran already runs again if it is sent again",
        )
        for side in ("-wal", "-shm"):
            self.file.with_name(self.file.name + side).unlink(missing_ok=True)
        self.file.replace(aside)

    def _forget_connection(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(_SCHEMA)
        said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(f"malformed: {said}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    name = getattr(error, "sqlite_errorname", "")
    return name in {"SQLITE_CORRUPT", "SQLITE_NOTADB", ""} and not isinstance(error, sqlite3.OperationalError)


def _find(connection: sqlite3.Connection, command_id: str) -> KeptCommand | None:
    found = connection.execute(
        "SELECT op, outcome, output FROM command WHERE id = ?", (command_id,)
    ).fetchone()
    if found is None:
        return None
    op, outcome, output = found
    return KeptCommand(op, command_id, None if outcome is None else _outcome(json.loads(outcome), output))


def _outcome(brief: dict[str, Any], output: str | None) -> CommandOutcome:
    """As it was written, be it by a later version that knows more codes and says more of each."""
    message = brief["message"]
    if output == "":
        message = "; ".join(part for part in (message, _OUTPUT_GONE) if part)
    code = _CODES.get(brief["code"], Code.INTERNAL) if brief["code"] else None
    told = json.loads(output) if output else {}
    return CommandOutcome(brief["status"], code, brief["path"], message, brief["retryable"], told)
