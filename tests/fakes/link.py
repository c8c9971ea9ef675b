"""A broker in memory, whose every answer a test decides."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass

from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import Ack, Closed, Inbound, Limits, Publication, SessionEvent
from tests.fakes.clock import FakeClock


@dataclass(frozen=True, slots=True)
class Sent:
    """A publication as the broker got it. `ticket` is 0 at QoS 0."""

    ticket: int
    publication: Publication


class FakeSession:
    """Fulfils `ports.Session`. `answer` gives the reason code for each publication; None: no PUBACK."""

    def __init__(
        self,
        *,
        clock: FakeClock,
        limits: Limits,
        will: Publication,
        answer: Callable[[Publication], int | None],
        refused_topics: frozenset[str] = frozenset(),
    ) -> None:
        self.limits = limits
        self.will = will
        self.answer = answer
        self.sent: list[Sent] = []
        self.subscribed: list[tuple[str, bool]] = []
        self.as_published: set[str] = set()
        self.most_in_flight = 0
        self.left = False
        self._refused_topics = refused_topics
        self._clock = clock
        self._in_flight: set[int] = set()
        self._tickets = 0
        self._events: deque[SessionEvent] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    @property
    def in_flight(self) -> set[int]:
        return set(self._in_flight)

    def publish(self, publication: Publication) -> int:
        if self._closed:
            raise TransientError("the connection is gone", code=Code.NETWORK, path="closed")
        largest = self.limits.maximum_packet_size
        if largest is not None and len(publication.payload) > largest:
            raise RefusedError("larger than the broker takes", code=Code.SIZE)
        if publication.qos == 0:
            self.sent.append(Sent(0, publication))
            return 0
        self._tickets += 1
        ticket = self._tickets
        self.sent.append(Sent(ticket, publication))
        self._in_flight.add(ticket)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
        if (reason := self.answer(publication)) is not None:
            self.acknowledge(ticket, reason)
        return ticket

    def acknowledge(self, ticket: int, reason: int = 0) -> None:
        """Send the PUBACK for `ticket`."""
        self._in_flight.discard(ticket)
        self.say(Ack(ticket, reason, self._clock.now().monotonic_ns))

    def say(self, event: SessionEvent) -> None:
        """Let `event` come from the broker."""
        self._events.append(event)
        self._arrived.set()

    def close(self, cause: str = "closed", detail: str = "connection lost") -> None:
        """Break the connection."""
        self._closed = True
        self.say(Closed(cause, detail))

    async def subscribe(
        self, topics: Sequence[str], *, no_local: bool, as_published: Collection[str] = ()
    ) -> None:
        self.as_published |= set(as_published) & set(topics)
        self.subscribed += [(topic, no_local) for topic in topics]
        if refused := self._refused_topics & set(topics):
            raise RefusedError(f"no subscription to {sorted(refused)}", code=Code.REFUSED)

    async def events(self) -> AsyncIterator[SessionEvent]:
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if isinstance(event, Closed):
                    return
            self._arrived.clear()
            await self._arrived.wait()

    async def disconnect(self) -> None:
        if not self._closed:
            self.left = True
            self.close("closed", "left")


class FakeLink:
    """Fulfils `ports.Link`. `failures` are raised first, one an attempt; `sessions` came about."""

    def __init__(self, *, clock: FakeClock) -> None:
        self.failures: deque[TransientError] = deque()
        self.sessions: list[FakeSession] = []
        self.attempts: list[Publication] = []
        self.limits = Limits(receive_maximum=65_535, maximum_packet_size=None, server_keep_alive_s=None)
        self.answer: Callable[[Publication], int | None] = lambda _publication: 0
        self.greeting: list[Inbound] = []
        """What each new session finds: retained messages of its subscriptions."""
        self.refused_topics: frozenset[str] = frozenset()
        self.gate = asyncio.Event()
        self.gate.set()
        self._clock = clock

    @property
    def session(self) -> FakeSession:
        """The latest."""
        return self.sessions[-1]

    async def connect(self, *, will: Publication | None, keepalive_s: int) -> FakeSession:
        assert will is not None
        assert keepalive_s > 0
        self.attempts.append(will)
        await self.gate.wait()
        if self.failures:
            raise self.failures.popleft()
        session = FakeSession(
            clock=self._clock,
            limits=self.limits,
            will=will,
            answer=self.answer,
            refused_topics=self.refused_topics,
        )
        for inbound in self.greeting:
            session.say(inbound)
        self.sessions.append(session)
        return session
