"""The outbox on disk: SQLite in write-ahead mode, written by one thread with group commit."""

from agent.adapters.outbox.sqlite import SqliteOutbox

__all__ = ["SqliteOutbox"]
