"""A node that starts with a large backlog: how soon the first row is out, and whether memory stays flat.

Of the rows that wait, one process delivers half and dies without a word, so that the next finds the file as a
`kill -9` leaves it.
"""

import asyncio
import os
import signal
import time
from typing import Final

from agent.adapters.system.memory import peak_memory_mb
from benchmarks.delivery.node import running_node
from benchmarks.delivery.processes import answer_with, read_task
from benchmarks.delivery.tasks import Drained, DrainTask

_EARLY_ROWS: Final = 5_000
"""After so many all is loaded, and every queue has been full once."""

_LOOK_S: Final = 0.002
_CONNECT_S: Final = 120.0
_SLOWEST_PER_S: Final = 200
"""What a drain is given time for: a small board with a slow card."""


async def drain(task: DrainTask) -> Drained:
    """Deliver what waits, or as much of it as is asked.

    Raises:
        TimeoutError: no PUBACK came in time.
    """
    async with running_node(task.place) as node:
        opened_s = (time.monotonic_ns() - task.spawned_ns) / 1e9
        waiting = (await node.outbox.statistics()).rows
        wanted = min(waiting, task.most or waiting)

        async def acknowledged(rows: int, *, within_s: float) -> int:
            async with asyncio.timeout(within_s):
                while node.delivery.statistics().acknowledged < rows:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(_LOOK_S)
            return time.monotonic_ns()

        first_ns = await acknowledged(1, within_s=_CONNECT_S)
        await acknowledged(min(wanted, _EARLY_ROWS), within_s=_CONNECT_S)
        early_peak_mb = peak_memory_mb()
        last_ns = await acknowledged(wanted, within_s=_CONNECT_S + wanted / _SLOWEST_PER_S)
        if task.most is None:
            await node.drained()  # the outbox hears of acknowledgements a little later
        counted = await node.outbox.statistics()
        drained = Drained(
            opened_s=opened_s,
            start_s=(first_ns - task.spawned_ns) / 1e9,
            acknowledged=node.delivery.statistics().acknowledged,
            took_s=(last_ns - first_ns) / 1e9,
            early_peak_mb=early_peak_mb,
            peak_mb=peak_memory_mb(),
            waiting=counted.rows,
            lacking=counted.produced - counted.acknowledged - counted.rows,
        )
        if task.most is not None:
            answer_with(drained)
            os.kill(os.getpid(), signal.SIGKILL)
        return drained


if __name__ == "__main__":
    answer_with(asyncio.run(drain(read_task(DrainTask))))
