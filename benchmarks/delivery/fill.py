"""A backlog to start with: rows that are stored while there is no broker."""

import asyncio
import time
from typing import Final

from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.system.clock import SystemClock
from agent.pipeline.supervise import Ticks
from agent.ports import Draft
from benchmarks.delivery.node import open_outbox, outbox_file
from benchmarks.delivery.processes import answer_with, read_task
from benchmarks.delivery.tasks import BODY, EXPIRY_S, ROWS_OF, Filled, FillTask

_BURST: Final = 64


async def fill(task: FillTask) -> Filled:
    """Store the rows, and close the file in order."""
    priority, stream = ROWS_OF["bulk"]
    clock = SystemClock()
    began = time.perf_counter()
    async with open_outbox(
        task.place, clock=clock, metrics=PrometheusMetrics(version="bench"), ticks=Ticks(clock=clock)
    ) as outbox:
        for number in range(task.rows):
            draft = Draft(stream=stream, priority=priority, body=BODY, made=clock.now(), expiry_s=EXPIRY_S)
            await outbox.append(draft)
            if number % _BURST == 0:
                await asyncio.sleep(0)
        rows = (await outbox.statistics()).rows
    return Filled(
        rows=rows,
        took_s=time.perf_counter() - began,
        file_mb=outbox_file(task.place).stat().st_size / (1 << 20),
    )


if __name__ == "__main__":
    answer_with(asyncio.run(fill(read_task(FillTask))))
