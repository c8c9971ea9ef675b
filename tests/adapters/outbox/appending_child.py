"""A process that appends and acknowledges until it is killed, and tells what was committed.

Run as `python -m tests.adapters.outbox.appending_child FILE SEED`. Each message carries the number that it
expects to be given. Lines on stdout, each written out at once: ``committed STREAM SEQ NUMBER`` for what the
outbox gave back as committed, ``acknowledging STREAM SEQ`` before a row is acknowledged.
"""

import asyncio
import json
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from random import Random

from agent.adapters.outbox import SqliteOutbox
from agent.adapters.outbox.bounds import Bounds
from agent.adapters.system.clock import SystemClock
from agent.domain.ids import Stream
from agent.ports import Draft, Priority
from tests.fakes.metrics import FakeMetrics

STREAMS: dict[str, Priority] = {
    "detections/door": "detection",
    "detections/gate": "detection",
    "telemetry/motor": "telemetry",
    "events/crowd": "event",
}


def next_numbers(path: Path) -> Counter[str]:
    if not path.exists():
        return Counter()
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return Counter(dict(connection.execute("SELECT name, next_seq FROM stream").fetchall()))
    finally:
        connection.close()


def say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def produce(outbox: SqliteOutbox, clock: SystemClock, numbers: Counter[str], random: Random) -> None:
    names = list(STREAMS)
    while True:
        for _ in range(random.randint(1, 40)):
            name = random.choice(names)
            body = json.dumps({"v": 1, "number": numbers[name], "filling": "x" * random.randint(0, 3_000)})
            numbers[name] += 1
            await outbox.append(
                Draft(
                    stream=Stream(name),
                    priority=STREAMS[name],
                    body=body.replace(" ", "").encode(),
                    made=clock.now(),
                )
            )
        await asyncio.sleep(random.uniform(0, 0.004))


async def consume(outbox: SqliteOutbox, random: Random) -> None:
    after: dict[Priority, int] = {}
    while True:
        await outbox.committed()
        while rows := await outbox.fetch(after=after, limit=50):
            for row in rows:
                after[row.priority] = row.key
                say(f"committed {row.stream} {row.seq} {json.loads(row.body)['number']}")
            chosen = [row for row in rows if random.random() < 0.7]
            for row in chosen:
                say(f"acknowledging {row.stream} {row.seq}")
            outbox.acknowledge([row.key for row in chosen])


async def main() -> None:
    path, seed = Path(sys.argv[1]), int(sys.argv[2])
    numbers = await asyncio.to_thread(next_numbers, path)
    clock = SystemClock()
    outbox = await SqliteOutbox.open(
        path,
        site="plant",
        node="nano-1",
        clock=clock,
        metrics=FakeMetrics(),
        bounds=Bounds(max_bytes=1 << 30, max_age_s=86_400),
        commit_interval_s=0.25,
    )
    say(f"session {await outbox.next_session()} of {outbox.epoch}")
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(outbox, clock, numbers, Random(seed)), name="produce")
        group.create_task(consume(outbox, Random(seed)), name="consume")


if __name__ == "__main__":
    asyncio.run(main())
