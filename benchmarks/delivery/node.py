"""Outbox, link and delivery of a node, put together as `agent.app` does, without anything that infers."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from agent.adapters import heap
from agent.adapters.logs.configure import configure_logging
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.outbox.bounds import Bounds
from agent.adapters.system.clock import SystemClock
from agent.contract.topics import Topics
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.supervise import Ticks, measure_loop_lag
from agent.ports import Draft
from benchmarks.delivery.tasks import BODY, EXPIRY_S, ROWS_OF, SITE, WINDOW, Kind, Place

_KEEPALIVE_S: Final = 20
_STOP_S: Final = 5.0
_MOST_BYTES: Final = 1 << 32
_MAX_AGE_S: Final = 2_592_000
_COMMIT_INTERVAL_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a subject works with."""

    outbox: SqliteOutbox
    delivery: Delivery
    clock: SystemClock
    metrics: PrometheusMetrics

    async def drained(self) -> None:
        """Wait until everything appended so far has been acknowledged."""
        await self.outbox.statistics()  # which are of all that was appended, so it commits
        await self.delivery.wait_drained()

    def draft(self, kind: Kind) -> Draft:
        """A message of this moment; for the latency, captured at this moment, too."""
        priority, stream = ROWS_OF[kind]
        now = self.clock.now()
        return Draft(stream=stream, priority=priority, body=BODY, made=now, captured=now, expiry_s=EXPIRY_S)


class _AtOnce(Random):
    """No delay, where a fleet's nodes would wait at random so that they do not all come back together."""

    def uniform(self, a: float, b: float) -> float:
        """The least."""
        return min(a, b)


@asynccontextmanager
async def open_outbox(
    place: Place, *, clock: SystemClock, metrics: PrometheusMetrics, ticks: Ticks
) -> AsyncIterator[SqliteOutbox]:
    """The outbox in the place's folder; the bound is above what the benchmark lets wait."""
    configure_logging(stream=sys.stderr, scrubber=Scrubber(), level="warning")
    outbox = await SqliteOutbox.open(
        path=outbox_file(place),
        site=SITE,
        node=place.node,
        clock=clock,
        metrics=metrics,
        bounds=Bounds(max_bytes=_MOST_BYTES, max_age_s=_MAX_AGE_S),
        commit_interval_s=_COMMIT_INTERVAL_S,
        on_tick=lambda: ticks.tick("outbox"),
    )
    try:
        yield outbox
    finally:
        await outbox.close()


@asynccontextmanager
async def running_node(place: Place) -> AsyncIterator[Node]:
    """A node whose delivery runs; it is stopped in order.

    Raises:
        NanofleetError: the outbox or a certificate cannot be used.
    """
    heap.limit_heaps()
    clock, metrics = SystemClock(), PrometheusMetrics(version="bench")
    ticks = Ticks(clock=clock)
    link = MqttLink(
        host=place.host,
        port=place.port,
        client_id=place.node,
        clock=clock,
        tls=TlsFiles(ca=place.ca, certificate=place.certificate, key=place.key),
    )
    async with open_outbox(place, clock=clock, metrics=metrics, ticks=ticks) as outbox:
        delivery = Delivery(
            link=link,
            outbox=outbox,
            announcements=Announcements(),
            topics=Topics(SITE, place.node),
            clock=clock,
            metrics=metrics,
            ticks=ticks,
            window=WINDOW,
            keepalive_s=_KEEPALIVE_S,
            random=_AtOnce(),
            on_condition=lambda *_: None,
            on_inbound=lambda _: None,
            on_connected=lambda _: None,
        )
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery.run(), name="delivery")
            group.create_task(measure_loop_lag(clock=clock, metrics=metrics, stop=stop), name="loop-lag")
            yield Node(outbox=outbox, delivery=delivery, clock=clock, metrics=metrics)
            delivery.stop(reason="shutdown", within_s=_STOP_S)
            stop.set()


def outbox_file(place: Place) -> Path:
    """Where the outbox lies."""
    return place.folder / "outbox.db"
