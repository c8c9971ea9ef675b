"""The agent's side of stored mode in one process: a real outbox, its delivery, and its ear for consumers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.outbox import SqliteOutbox
from agent.adapters.system.clock import SystemClock
from agent.contract import payloads
from agent.contract.topics import Topics
from agent.domain.ids import Stream
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.keeping import Keeping
from agent.pipeline.supervise import Ticks
from agent.ports import Draft, KeepUntil, OutboxStatistics, Priority
from tests.adapters.outbox.rigs import opened
from tests.brokers import HOST, Identity
from tests.fakes.metrics import FakeMetrics


class StoringNode:
    """Made by `storing_node`. `keeping.replay` is what a consumer's command will come to."""

    def __init__(self, outbox: SqliteOutbox, link: MqttLink, *, topics: Topics, until: KeepUntil) -> None:
        self.outbox = outbox
        self.topics = topics
        self.metrics = FakeMetrics()
        self.clock = SystemClock()
        self.keeping = Keeping(
            until=until,
            outbox=outbox,
            topics=topics,
            clock=self.clock,
            metrics=self.metrics,
            on_sendable=lambda: self.delivery.send_again(),  # noqa: PLW0108 it is made below
        )
        self.delivery = Delivery(
            link=link,
            outbox=outbox,
            announcements=Announcements(),
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            topics=topics,
            window=20,
            keepalive_s=5,
            random=Random(1),
            on_condition=lambda *_about: None,
            on_inbound=self.keeping.receive,
            on_connected=lambda _outage: self.keeping.connected(),
            subscriptions=(topics.acks,),
            backoff_base_s=0.2,
            backoff_cap_s=0.5,
        )

    async def append(self, count: int, *, stream: str, priority: Priority = "detection") -> None:
        """So many messages, committed."""
        for _ in range(count):
            now = self.clock.now()
            head = payloads.stream_head(self.topics, now, synced=self.clock.synced(), boot=self.clock.boot)
            body = payloads.encode(payloads.StreamPayload(**head))
            await self.outbox.append(
                Draft(stream=Stream(stream), priority=priority, body=body, made=now, expiry_s=600)
            )
        await self.outbox.statistics()

    async def statistics(self) -> OutboxStatistics:
        return await self.outbox.statistics()


@asynccontextmanager
async def storing_node(
    file: Path,
    *,
    identity: Identity,
    port: int,
    until: KeepUntil = "stored",
    site: str = "plant",
    **settings: Any,
) -> AsyncIterator[StoringNode]:
    """A node at work on the outbox `file`, which it leaves in order at the end."""
    clock = SystemClock()
    topics = Topics(site, identity.name)
    files = TlsFiles(ca=identity.ca, certificate=identity.certificate, key=identity.key)
    link = await asyncio.to_thread(
        lambda: MqttLink(host=HOST, port=port, client_id=identity.name, clock=clock, tls=files)
    )
    outbox = await opened(
        file, clock=clock, site=site, node=identity.name, keep_until=until, commit_interval_s=0.1, **settings
    )
    node = StoringNode(outbox, link, topics=topics, until=until)
    task = asyncio.create_task(node.delivery.run(), name="delivery")
    try:
        yield node
    finally:
        if not task.done():
            node.delivery.stop(reason="test", within_s=3)
        await asyncio.wait_for(task, 10)
        await outbox.close()
