"""A delivery stage with fakes all around it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from agent.contract.payloads import LastOffline
from agent.contract.topics import Topics
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.supervise import Ticks
from agent.ports import Draft, Inbound, Publication, Status
from tests.fakes.clock import FakeClock
from tests.fakes.link import FakeLink, FakeSession
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until

TOPICS = Topics("plant", "nano-42")
DOOR = TOPICS.below("detections/door")
INFO = Publication(TOPICS.info, b"info", retain=True)
HEALTH = Publication(TOPICS.health, b"ok", retain=True)


class DeliveryNode:
    """A delivery stage on fake link and outbox, with short back-offs and a clock that the test moves."""

    def __init__(
        self, *, clock: FakeClock | None = None, outbox: FakeOutbox | None = None, **settings: Any
    ) -> None:
        self.clock = clock or FakeClock()
        self.link = FakeLink(clock=self.clock)
        self.outbox = outbox or FakeOutbox(clock=self.clock)
        self.announcements = Announcements()
        self.metrics = FakeMetrics()
        self.conditions: dict[str, tuple[Status, str | None, str | None]] = {}
        self.inbound: list[Inbound] = []
        self.offline: list[LastOffline | None] = []
        self.delivery = Delivery(
            link=self.link,
            outbox=self.outbox,
            announcements=self.announcements,
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            topics=TOPICS,
            **{
                "window": 20,
                "keepalive_s": 20,
                "random": Random(1),
                "on_condition": self._note,
                "on_inbound": self.inbound.append,
                "on_connected": self.offline.append,
                "backoff_base_s": 0.01,
                "backoff_cap_s": 0.02,
                **settings,
            },
        )

    def _note(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        self.conditions[who] = (status, code, message)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DeliveryNode"]:
        """Runs in a task of its own, and is stopped at the end unless the test did it."""
        task = asyncio.create_task(self.delivery.run(), name="delivery")
        try:
            yield self
        finally:
            if not task.done():
                self.delivery.stop(reason="test", within_s=3)
            await asyncio.wait_for(task, 5)

    def draft(self, **kwargs: Any) -> Draft:
        return draft_of(made=self.clock.now(), **kwargs)

    def commit(self, count: int = 1, **kwargs: Any) -> list[int]:
        return [self.outbox.commit(self.draft(**kwargs)).key for _ in range(count)]

    async def session(self, number: int = 1) -> FakeSession:
        await until(lambda: len(self.link.sessions) >= number)
        return self.link.sessions[number - 1]


def states(session: FakeSession) -> list[dict[str, Any]]:
    """What was said on `B/state`."""
    return [json.loads(s.publication.payload) for s in session.sent if s.publication.topic == TOPICS.state]


def seqs(session: FakeSession, topic: str = DOOR) -> list[int]:
    """The sequence numbers sent, in order."""
    return [json.loads(s.publication.payload)["seq"] for s in session.sent if s.publication.topic == topic]


def replays(session: FakeSession) -> list[str | None]:
    """The user property `replay` of each detection sent."""
    return [s.publication.properties.get("replay") for s in session.sent if s.publication.topic == DOOR]
