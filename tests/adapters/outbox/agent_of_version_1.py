"""What an agent of schema version 1 does to an outbox. Runs on that agent's code, not on this one's.

usage: PYTHONPATH=FOLDER python agent_of_version_1.py make|make-and-die|go-on FILE

FOLDER holds the `agent` package as `git archive COMMIT agent` gives it; `OLDER` in test_outbox_versions.py
names the commit. `make` is how the files in `files/` were made; `make-and-die` leaves one as `kill -9` does.
`go-on` sends what waits, up to two thirds of it, and appends. Each tells as JSON what it knows afterwards.
"""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import structlog

from agent.adapters.outbox import SqliteOutbox
from agent.domain.ids import Stream
from agent.domain.stamp import Stamp
from agent.ports import Draft, Priority, Row

STREAMS: dict[str, Priority] = {
    "loss": "loss",
    "events/crowd": "event",
    "result": "result",
    "snapshots/door": "snapshot",
    "telemetry/motor": "telemetry",
    "detections/door": "detection",
    "detections/gate": "detection",
}
MAX_BYTES = 20_000


class Clock:
    """In another boot than the tests' and at their time, so that nothing is too old."""

    boot = "b0074b00-0000-4000-8000-00000000000a"

    def __init__(self) -> None:
        self._at = Stamp(1_700_000_000_000_000_000, 5_000_000_000)

    def now(self) -> Stamp:
        self._at = Stamp(self._at.wall_ns + 1_000_000, self._at.monotonic_ns + 1_000_000)
        return self._at

    def synced(self) -> bool:
        return True


class Metrics:
    """Nobody looks."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, /, **labels: str) -> None: ...

    def observe(self, name: str, seconds: float, /, **labels: str) -> None: ...


def draft(stream: str, number: int, clock: Clock, random: Random) -> Draft:
    made = clock.now()
    body = json.dumps({"v": 1, "number": number, "name": "Tür", "filling": "x" * random.randint(0, 300)})
    is_picture = stream.startswith("snapshots/")
    return Draft(
        stream=Stream(stream),
        priority=STREAMS[stream],
        body=random.randbytes(500) if is_picture else body.replace(" ", "").encode(),
        made=made,
        captured=Stamp(made.wall_ns - 80_000_000, made.monotonic_ns - 80_000_000) if number % 3 else None,
        content_type="image/jpeg" if is_picture else "application/json",
        expiry_s=random.choice([None, 86_400, 604_800]),
        properties={"id": f"{number}", "why": "crowd"} if is_picture else {},
    )


def told(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "stream": row.stream,
        "seq": row.seq,
        "sha256": hashlib.sha256(row.body).hexdigest(),
        "content_type": row.content_type,
        "expiry_s": row.expiry_s,
        "properties": dict(row.properties),
        "made": [row.made.wall_ns, row.made.monotonic_ns],
        "captured": None if row.captured is None else [row.captured.wall_ns, row.captured.monotonic_ns],
    }


async def account(outbox: SqliteOutbox) -> dict[str, Any]:
    statistics = await outbox.statistics()
    return {
        "epoch": statistics.epoch,
        "produced": statistics.produced,
        "acknowledged": statistics.acknowledged,
        "lost": statistics.lost,
        "refused": statistics.refused,
        "rows": [told(row) for row in await outbox.fetch(after={}, limit=1_000_000)],
    }


async def opened(path: Path, clock: Clock, *, max_bytes: int) -> SqliteOutbox:
    as_then: dict[str, Any] = {
        "clock": clock,
        "metrics": Metrics(),
        "max_bytes": max_bytes,
        "max_age_s": 30 * 86_400,
    }
    return await SqliteOutbox.open(path, site="plant", node="nano-1", **as_then)


async def make(path: Path, *, die: bool) -> None:
    """Rows of every priority and size; acknowledged, refused and evicted ones among them."""
    clock, random = Clock(), Random(20_231_114)
    outbox = await opened(path, clock, max_bytes=MAX_BYTES)
    streams = [name for name in STREAMS if name != "loss"]
    for number in range(70):
        await outbox.append(draft(random.choice(streams), number, clock, random))
        if number % 17 == 16:
            await outbox.statistics()
            rows = await outbox.fetch(after={}, limit=1_000)
            outbox.acknowledge([row.key for row in random.sample(rows, 4)])
            chosen = random.choice([row for row in rows if row.stream != "loss"])
            outbox.refuse(chosen.key, reason=random.choice(["refused", "oversize"]), code=0x87)
    await outbox.next_session()
    found = await account(outbox)
    print(json.dumps(found, indent=1), flush=True)
    if die:
        os._exit(0)
    await outbox.close()


async def go_on(path: Path) -> None:
    """What an older agent does with the file of a newer one: everything that it always did."""
    clock, random = Clock(), Random(2)
    outbox = await opened(path, clock, max_bytes=64 << 20)
    before = await account(outbox)
    keys = [row["key"] for row in before["rows"]]
    outbox.acknowledge(keys[: 2 * len(keys) // 3])
    for number in range(9):
        await outbox.append(draft(list(STREAMS)[1 + number % 6], 1_000 + number, clock, random))
    session = await outbox.next_session()
    print(json.dumps({"before": before, "after": await account(outbox), "session": session}), flush=True)
    await outbox.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    action, file = sys.argv[1], Path(sys.argv[2])
    asyncio.run(go_on(file) if action == "go-on" else make(file, die=action == "make-and-die"))
