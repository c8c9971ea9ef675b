"""The demo from end to end: broker, node, consumer; and what it proved."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.demo.broker import HOST, running_broker
from agent.demo.certificates import ThrowawayAuthority
from agent.demo.consumer import Consumer
from agent.demo.node import Node, NodeFailedError, running_node
from agent.demo.scenario import NODE, write_scenario
from agent.domain.errors import Code, TransientError
from agent.pipeline.waiting import wait_for_event
from agent.ports import Closed
from agent.report import RunReport
from agent.settings.reach import why_out_of_reach

WATCHER = "watcher"
"""The name of the certificate that `nanofleet demo watch` uses."""

_CONSUMER = "dashboard"
_PORT_FILE = "port"
_LAST_MESSAGES_S = 1.0
_REDRAW_S = 0.25
_FIRST_MESSAGE_S = 60.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What the agent counted, and what the consumer saw of it."""

    report: RunReport
    received: int
    duplicates: int
    declared_lost: int
    missing: int
    """Messages that were neither received nor declared lost."""

    @property
    def lost(self) -> int:
        """Acknowledged or not: whatever the node produced and this consumer never got."""
        return self.missing + self.declared_lost


async def show(
    *,
    stop: asyncio.Event,
    begun: Callable[[Path], None],
    draw: Callable[[Consumer], None],
    seconds: float | None,
) -> Proof:
    """Run everything until `stop`, or for so many seconds.

    `begun` is told the folder that `watch` wants; `draw` is called a few times a second.

    Raises:
        NodeFailedError: the agent ended by itself.
        TransientError, RuntimeError: the broker did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="nanofleet-demo-") as name:
        folder = Path(name)
        authority = ThrowawayAuthority(folder)
        for client in (_CONSUMER, WATCHER):
            authority.client(client)
        with running_broker(folder, authority.server(HOST)) as port:
            (folder / _PORT_FILE).write_text(str(port))
            scenario = write_scenario(folder, authority.client(NODE), port=port)
            consumer = Consumer()
            connected = asyncio.Event()
            listening = asyncio.create_task(
                consumer.listen(folder, port=port, name=_CONSUMER, on_listening=connected.set),
                name="consumer",
            )
            try:
                await _first(connected.wait(), listening)
                async with running_node(scenario) as node:
                    begun(folder)
                    await _watch_node(node, consumer, listening, stop=stop, draw=draw, seconds=seconds)
                await asyncio.sleep(_LAST_MESSAGES_S)
            finally:
                await _cancelled(listening)
            report = RunReport.model_validate_json(scenario.report_file.read_text())
            continuity = consumer.continuity
            return Proof(
                report=report,
                received=continuity.received,
                duplicates=continuity.duplicates,
                declared_lost=continuity.declared_lost,
                missing=report.messages.produced - continuity.received - continuity.declared_lost,
            )


async def watch(folder: Path, *, stop: asyncio.Event, draw: Callable[[Consumer], None]) -> Consumer:
    """Subscribe, from another terminal, to a demo that runs in `folder`, until it ends or `stop`.

    Raises:
        TransientError: there is no demo in that folder, or it has ended.
    """
    port_file = folder / _PORT_FILE
    if why_out_of_reach(port_file) or not port_file.is_file():
        raise TransientError(
            f"no demo runs in {folder}; start one with `nanofleet demo` and copy the line that it prints",
            code=Code.FILE,
        )
    consumer = Consumer()
    connected = asyncio.Event()
    listening = asyncio.create_task(
        consumer.listen(folder, port=int(port_file.read_text()), name=WATCHER, on_listening=connected.set),
        name="consumer",
    )
    try:
        await _first(connected.wait(), listening)
        while not stop.is_set() and not listening.done():
            draw(consumer)
            await wait_for_event(stop, timeout_s=_REDRAW_S)
    finally:
        await _cancelled(listening)
    return consumer


async def _watch_node(
    node: Node,
    consumer: Consumer,
    listening: asyncio.Task[Closed],
    *,
    stop: asyncio.Event,
    draw: Callable[[Consumer], None],
    seconds: float | None,
) -> None:
    """Draw until it is time to end; the seconds count from the node's first message."""
    ended = asyncio.create_task(node.wait(), name="node")
    deadline_s: float | None = None
    began_s = consumer.now_s()
    try:
        while not stop.is_set():
            if ended.done():
                await ended
            if listening.done():
                closed = await listening
                raise TransientError(f"the broker went away: {closed.detail}", code=Code.NETWORK)
            if not consumer.continuity.received and consumer.now_s() - began_s > _FIRST_MESSAGE_S:
                raise node.failed(f"it said nothing for {_FIRST_MESSAGE_S:.0f} s")
            if deadline_s is None and seconds is not None and consumer.continuity.received:
                deadline_s = consumer.now_s() + seconds
            if deadline_s is not None and consumer.now_s() >= deadline_s:
                return
            draw(consumer)
            await wait_for_event(stop, timeout_s=_REDRAW_S)
    finally:
        await _cancelled(ended)


async def _first(wanted: Coroutine[Any, Any, object], other: asyncio.Task[Any]) -> None:
    """Await `wanted`; if `other` ends before, raise what it ended with."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, other}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await other


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, TransientError, NodeFailedError):
        await task
