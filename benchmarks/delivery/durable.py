"""The subject: messages go into the outbox as fast as they are delivered, while others are.

The producer stays a little ahead of the broker, as paho's own does by its window: the rate is the highest at
which a backlog does not grow. (By itself the outbox takes messages several times as fast.)
"""

import asyncio
import time
from typing import Final

from benchmarks.delivery.node import Node, running_node
from benchmarks.delivery.processes import answer_with, read_task
from benchmarks.delivery.tasks import SendTask, Sent

_BURST: Final = 8
"""Messages between two looks of the loop at what else there is: frames of so many cameras."""

_AHEAD: Final = 500
"""Messages appended and not yet acknowledged, at most: some tens of milliseconds' worth."""

_PAUSE_S: Final = 0.001
_CONNECT_S: Final = 10.0
_PATIENCE_S: Final = 300.0


async def send(task: SendTask) -> Sent:
    """Raises: TimeoutError (no session, or acknowledgements that never came)."""
    async with running_node(task.place) as node:
        async with asyncio.timeout(_CONNECT_S):
            await node.delivery.wait_connected()
            await node.drained()
        began, began_cpu = time.perf_counter(), time.process_time()
        async with asyncio.timeout(_PATIENCE_S):
            for number in range(task.messages):
                await node.outbox.append(node.draft(task.kind))
                if number % _BURST == 0:
                    await _let_go(node, appended=number)
            await node.drained()
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        counted = await node.outbox.statistics()
        if counted.rows or counted.lost:
            raise RuntimeError(f"{counted.rows} rows are still waiting, {counted.lost} are lost")
        return Sent(counted.acknowledged, took_s, cpu_s=cpu_s)


async def _let_go(node: Node, *, appended: int) -> None:
    await asyncio.sleep(0)
    while appended - node.delivery.statistics().acknowledged > _AHEAD:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(_PAUSE_S)


if __name__ == "__main__":
    answer_with(asyncio.run(send(read_task(SendTask))))
