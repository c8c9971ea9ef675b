"""A look into an outbox file from outside, while the agent runs or after it was killed."""

import sqlite3
from collections import defaultdict
from pathlib import Path


def given_numbers(outbox_file: Path) -> dict[str, int]:
    """Per stream, the sequence number that would be given next."""
    with sqlite3.connect(f"file:{outbox_file}?mode=ro", uri=True) as outbox:
        return dict(outbox.execute("SELECT name, next_seq FROM stream").fetchall())


def waiting_rows(outbox_file: Path) -> dict[str, set[int]]:
    """Per stream, the numbers of the rows that still wait."""
    waiting: dict[str, set[int]] = defaultdict(set)
    with sqlite3.connect(f"file:{outbox_file}?mode=ro", uri=True) as outbox:
        rows = outbox.execute(
            "SELECT stream.name, message.seq FROM message JOIN stream ON stream.id = message.stream"
        )
        for stream, seq in rows:
            waiting[stream].add(seq)
    return waiting


def count_waiting(outbox_file: Path) -> int:
    return sum(map(len, waiting_rows(outbox_file).values()))


def count_undeclared(outbox_file: Path) -> int:
    """Drops that no loss message has been made for yet."""
    with sqlite3.connect(f"file:{outbox_file}?mode=ro", uri=True) as outbox:
        count: int = outbox.execute("SELECT count(*) FROM ledger WHERE told = 0").fetchone()[0]
    return count
