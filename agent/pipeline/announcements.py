"""What the node says of itself, outside the outbox: retained last values and passing remarks."""

import asyncio
from collections import deque
from collections.abc import Sequence

from agent.ports import Publication

_MOST_REMARKS = 100


class Announcements:
    """The last value of each retained topic, and a few remarks at QoS 0. Used on the event loop only.

    Retained topics are never queued: at a session's birth all last values are sent, then each on change.
    Remarks (heartbeat, log) made while there is no session are dropped, oldest first. The topics `first` go
    first at birth, in their order.
    """

    def __init__(self, *, first: Sequence[str] = ()) -> None:
        self._first = first
        self._retained: dict[str, Publication] = {}
        self._changed: dict[str, Publication] = {}
        self._remarks: deque[Publication] = deque(maxlen=_MOST_REMARKS)
        self._news = asyncio.Event()

    def retain(self, publication: Publication) -> None:
        """Set the last value of a retained topic; the same value again says nothing."""
        if self._retained.get(publication.topic) != publication:
            self._retained[publication.topic] = publication
            self._changed[publication.topic] = publication
            self._news.set()

    def remark(self, publication: Publication) -> None:
        """Say something once, if anybody listens."""
        self._remarks.append(publication)
        self._news.set()

    def birth(self) -> list[Publication]:
        """All retained values, the others as their topics were first set; forgets pending changes."""
        self._changed.clear()
        self._remarks.clear()
        ordered = [topic for topic in self._first if topic in self._retained]
        ordered += [topic for topic in self._retained if topic not in self._first]
        return [self._retained[topic] for topic in ordered]

    def take(self) -> list[Publication]:
        """What is new since the last `birth` or `take`: changes first, then remarks."""
        news = [*self._changed.values(), *self._remarks]
        self._changed.clear()
        self._remarks.clear()
        self._news.clear()
        return news

    async def news(self) -> None:
        """Wait until `take` has something."""
        await self._news.wait()
