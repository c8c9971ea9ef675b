"""What the tests of the outbox share: opening, filling and reading one, and leaving it as a crash would."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.adapters.outbox import SqliteOutbox
from agent.adapters.outbox.bounds import Bounds, Limit
from agent.contract.payloads import with_sequence
from agent.contract.topics import Topics
from agent.domain.ids import Stream
from agent.ports import Clock, Draft, Outbox, Priority, Row
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

TOPICS = Topics("plant", "nano-1")
STREAMS: dict[Priority, Stream] = {
    "loss": Stream("loss"),
    "event": Stream("events/crowd"),
    "result": Stream("result"),
    "snapshot": Stream("snapshots/door"),
    "telemetry": Stream("telemetry/motor"),
    "detection": Stream("detections/door"),
}


async def opened(
    path: Path,
    *,
    clock: Clock | None = None,
    max_bytes: int = 64 << 20,
    max_age_s: float = 30 * 86_400,
    reserve_bytes: int = 0,
    limits: Mapping[Priority, Limit] | None = None,
    **settings: Any,
) -> SqliteOutbox:
    arguments: dict[str, Any] = {
        "site": TOPICS.site,
        "node": TOPICS.node,
        "clock": clock or FakeClock(),
        "metrics": FakeMetrics(),
        "bounds": Bounds(
            max_bytes=max_bytes, max_age_s=max_age_s, reserve_bytes=reserve_bytes, limits=limits or {}
        ),
        "commit_interval_s": 0.02,
    }
    return await SqliteOutbox.open(path, **(arguments | settings))


@asynccontextmanager
async def outbox_at(
    path: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[SqliteOutbox]:
    outbox = await opened(path, clock=clock, **settings)
    try:
        yield outbox
    finally:
        await outbox.close()


def draft(
    clock: Clock,
    priority: Priority = "detection",
    *,
    number: int = 0,
    size: int = 0,
    stream: str | None = None,
    expiry_s: int | None = None,
) -> Draft:
    body = {"v": 1, "site": "plant", "number": number, "filling": "x" * size}
    return Draft(
        stream=Stream(stream) if stream else STREAMS[priority],
        priority=priority,
        body=json.dumps(body, separators=(",", ":")).encode(),
        made=clock.now(),
        expiry_s=expiry_s,
    )


async def fill(
    outbox: Outbox, clock: Clock, priority: Priority, count: int, *, size: int = 0, stream: str | None = None
) -> None:
    """Append `count` drafts, and wait until they are committed."""
    for number in range(count):
        await outbox.append(draft(clock, priority, number=number, size=size, stream=stream))
    await outbox.statistics()


async def waiting(outbox: Outbox, limit: int = 1_000_000) -> list[Row]:
    """All that waits, with what was appended so far; asking for statistics commits that."""
    await outbox.statistics()
    return await outbox.fetch(after={}, limit=limit)


def seqs(rows: Sequence[Row], stream: str = "detections/door") -> list[int]:
    return [row.seq for row in rows if row.stream == stream]


def message(row: Row) -> dict[str, Any]:
    """As it would go out."""
    sent: dict[str, Any] = json.loads(with_sequence(row.body, epoch=row.epoch, seq=row.seq))
    return sent


def losses(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The loss messages among `rows`, without their heads."""
    told = [message(row) for row in rows if row.stream == "loss"]
    wanted = ("stream", "lost_epoch", "from", "to", "count", "reason")
    return [{name: loss[name] for name in wanted} for loss in told]


def copy_as_crash_leaves_it(source: Path, target: Path) -> Path:
    """The file and its log as they lie, without asking whoever has them open: what `kill -9` leaves."""
    target.mkdir(parents=True, exist_ok=True)
    for suffix in (".mark", "", "-wal"):  # a mark is written after the commit that it tells of
        file = source.with_name(source.name + suffix)
        if file.exists():
            shutil.copy(file, target / file.name)
    return target / source.name


def sql(path: Path, *statements: str) -> None:
    """Do what only somebody else would do to the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
