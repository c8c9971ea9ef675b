"""The subject at a steady rate: how long append holds its caller, and when the PUBACK comes.

Another process gives the beat, so that neither a timer's coarseness nor a thread's wish for the interpreter
is measured: a sample runs from the tick's being written there until append has returned here, which
contains all that keeps the loop from turning to it.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

from benchmarks.delivery.node import Node, running_node
from benchmarks.delivery.processes import READY, answer_with, read_task
from benchmarks.delivery.tasks import Kind, Paced, PaceTask

_TICK: Final = struct.Struct("=q")
_PATIENCE_S: Final = 30.0


def metronome(rate_hz: float, seconds: float) -> Callable[[int], None]:
    """What writes ticks, each the monotonic time of its writing, to a descriptor."""

    def beat(descriptor: int) -> None:
        began = time.monotonic()
        for number in range(round(rate_hz * seconds)):
            time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
            os.write(descriptor, _TICK.pack(time.monotonic_ns()))

    return beat


async def pace(task: PaceTask) -> Paced:
    """Raises: TimeoutError (no session, or acknowledgements that never came)."""
    async with running_node(task.place) as node:
        async with asyncio.timeout(_PATIENCE_S):
            await node.delivery.wait_connected()
        samples_ms = await _append_at_ticks(node, task.kind)
        async with asyncio.timeout(_PATIENCE_S):
            await node.drained()
        latency = node.metrics.percentiles("capture_to_ack_seconds")
        if latency is None:
            raise RuntimeError("nothing was acknowledged")
        return Paced(
            append_ms=tuple(sorted(samples_ms)),
            latency_p50_ms=latency.p50_s * 1e3,
            latency_p99_ms=latency.p99_s * 1e3,
            acknowledged=(await node.outbox.statistics()).acknowledged,
        )


async def _append_at_ticks(node: Node, kind: Kind) -> list[float]:
    ticks = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ticks), sys.stdin)
    print(READY, flush=True)
    samples_ms: list[float] = []
    try:
        while tick := await ticks.read(_TICK.size):
            (ticked_ns,) = _TICK.unpack(tick)
            await node.outbox.append(node.draft(kind))
            samples_ms.append((time.monotonic_ns() - ticked_ns) / 1e6)
    finally:
        transport.close()
    return samples_ms


if __name__ == "__main__":
    answer_with(asyncio.run(pace(read_task(PaceTask))))
