"""Whether each waiting row has a number that its stream gave it: a wrong one would be declared, or sent."""

import sqlite3
from typing import Final

from agent.adapters.outbox.faults import DamagedStoreError
from agent.adapters.outbox.schema import transaction

_MISNUMBERED: Final = """
WITH placed AS (
    SELECT key, stream, seq, lag(seq, 1, -1) OVER beside AS before, lead(seq) OVER beside AS after
    FROM message WINDOW beside AS (PARTITION BY stream ORDER BY key)
), bounded AS (
    SELECT placed.key, seq, before, coalesce(after, next_seq) AS after
    FROM placed JOIN stream ON stream.id = placed.stream
)
SELECT key, before, after FROM bounded WHERE before < after AND NOT (before < seq AND seq < after)
"""


def mend_numbers(connection: sqlite3.Connection) -> None:
    """Give rows their number back that lie between two neighbours which leave but one.

    In the order of keys a stream's numbers rise, so one that does not is damaged. If that was all, the row's
    check sum is right again; if not, it will be declared lost under its own number.

    Raises:
        DamagedStoreError: a row may have had any of several numbers.
    """
    found = connection.execute(_MISNUMBERED).fetchall()
    if any(after - before != 2 for _, before, after in found):
        raise DamagedStoreError("a row has a number that its stream never gave it")
    if found:
        with transaction(connection, durable=True):
            connection.executemany(
                "UPDATE message SET seq = ? WHERE key = ?", [(before + 1, key) for key, before, _ in found]
            )
