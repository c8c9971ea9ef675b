"""What SQLite does without promising it, and what the outbox relies on."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from shutil import copy

import pytest

from agent.adapters.outbox.faults import fault_of
from agent.adapters.outbox.schema import connect, migrate, transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.sqlite3"
    with closing(connect(path)) as connection:
        migrate(connection)
    return path


def test_the_log_is_in_use_and_deleted_content_is_not_overwritten(path: Path) -> None:
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (0,)


def test_fetching_by_priority_and_key_needs_one_index_and_no_sorting(path: Path) -> None:
    with closing(connect(path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT body FROM message WHERE rank = 3 AND key > 7 ORDER BY key LIMIT 5"
        ).fetchall()
    assert [step[3] for step in plan] == [
        "SEARCH message USING INDEX message_by_rank (rank=? AND rowid>?)",
    ]


def test_untold_losses_are_found_by_their_own_index(path: Path) -> None:
    with closing(connect(path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM ledger WHERE told = 0 ORDER BY id LIMIT 5"
        ).fetchall()
    assert ["ledger_untold" in step[3] for step in plan] == [True]


def test_keys_given_as_json_are_looked_up_one_by_one(path: Path) -> None:
    with closing(connect(path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN DELETE FROM message WHERE key IN (SELECT value FROM json_each(?))", ("[1]",)
        ).fetchall()
    assert "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)" in [step[3] for step in plan]


def test_the_sync_level_cannot_be_changed_inside_a_transaction(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="inside a transaction"):
            connection.execute("PRAGMA synchronous = FULL")


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO boot (name) VALUES ('x')")

        def insert_twice() -> None:
            with transaction(connection, durable=True):
                connection.execute("INSERT INTO boot (name) VALUES ('y')")
                connection.execute("INSERT INTO boot (name) VALUES ('x')")

        with pytest.raises(sqlite3.IntegrityError):
            insert_twice()
        assert not connection.in_transaction
        assert connection.execute("SELECT name FROM boot").fetchall() == [("x",)]


def test_a_copy_of_file_and_log_holds_every_commit(path: Path, tmp_path: Path) -> None:
    """Whole frames up to the last commit are taken from the log; its index is made anew."""
    with closing(connect(path)) as connection:
        for number in range(50):
            with transaction(connection, durable=False):
                connection.execute("INSERT INTO boot (name) VALUES (?)", (f"boot {number}",))
        target = tmp_path / "copy.sqlite3"
        copy(path, target)
        copy(f"{path}-wal", f"{target}-wal")
    with closing(connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM boot").fetchone() == (50,)


def test_a_torn_log_gives_back_the_commits_before_the_tear(path: Path, tmp_path: Path) -> None:
    with closing(connect(path)) as connection:
        for number in range(50):
            with transaction(connection, durable=False):
                connection.execute("INSERT INTO boot (name) VALUES (?)", (f"boot {number}",))
        target = tmp_path / "copy.sqlite3"
        copy(path, target)
        log = Path(f"{path}-wal").read_bytes()
        Path(f"{target}-wal").write_bytes(log[: len(log) // 2])
    with closing(connect(target)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM boot ORDER BY id")]
        assert names == [f"boot {number}" for number in range(len(names))]
        assert 0 < len(names) < 50
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_what_is_no_database_is_told_apart_from_a_disk_that_refuses(path: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"not a database, and long enough to be looked at as one" * 100)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        connect(nothing)
    assert fault_of(damaged.value) == "damaged"
    with closing(connect(path)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            other.execute("BEGIN IMMEDIATE")
    assert fault_of(busy.value) == "refused"
    with closing(connect(path)) as connection, pytest.raises(sqlite3.OperationalError) as mistake:
        connection.execute("SELECT nonsense")
    assert fault_of(mistake.value) is None


SYNCS = """
import sys
from agent.adapters.outbox.schema import connect, transaction
from pathlib import Path
connection = connect(Path(sys.argv[1]))
durable = sys.argv[2] == "durable"
for number in range(10):
    with transaction(connection, durable=durable):
        connection.execute("INSERT INTO boot (name) VALUES (?)", (f"{durable} {number}",))
import os
os._exit(0)  # closing would sync
"""


def test_a_durable_commit_syncs_and_another_does_not(path: Path, tmp_path: Path) -> None:
    def syncs(kind: str) -> int:
        trace = tmp_path / f"trace-{kind}"
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        done = subprocess.run(
            [*command, sys.executable, "-c", SYNCS, str(path), kind],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"processes cannot be traced here: {done.stderr.strip()[:200]}")
        return trace.read_text().count("sync(")

    if not Path("/usr/bin/strace").exists():
        pytest.skip("strace is not installed")
    first = syncs("bulk")  # the log's own head is synced once when it begins
    assert first <= 2
    assert syncs("durable") >= 10
