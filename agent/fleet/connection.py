"""One connection to the broker, on which an operator's command listens and speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from agent.adapters.mqtt.session import MqttSession
from agent.domain.errors import Code, TransientError
from agent.fleet.client import Client
from agent.ports import Ack, Closed, Inbound, Publication

Take = Callable[[Inbound], None]

_LOOK_S: Final = 0.1
_WINDOW: Final = 20
"""Most publications without an answer: what brokers usually allow."""
_ANSWER_S: Final = 20.0


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Connection]:
    """A connection as `client`, which is left in order.

    Raises:
        TransientError: the broker cannot be reached, or does not let `client` in.
    """
    session = await client.link.connect(will=None, keepalive_s=client.keepalive_s)
    try:
        yield Connection(session, client=client)
    finally:
        await session.disconnect()


class Connection:
    """Made by `connected`, used by one task. Each method raises TransientError where the connection ends."""

    def __init__(self, session: MqttSession, *, client: Client) -> None:
        self._session = session
        self._client = client
        self._answers: dict[int, int] = {}

    @property
    def name(self) -> str:
        """What the broker knows us by."""
        return self._client.name

    async def subscribe(self, filters: Sequence[str], *, at_most_once: bool = False) -> None:
        """Listen to `filters` from now on; what is retained below them comes again each time.

        With `at_most_once` what comes faster than it is read is dropped instead of waiting in the broker,
        whose room for us is bounded: so a stream never keeps from us what is retained.

        Raises:
            RefusedError: the broker says no.
        """
        await self._session.subscribe(
            filters, no_local=False, at_most_once=frozenset(filters) if at_most_once else ()
        )

    async def hear(self, take: Take, *, for_s: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Hand each message to `take`, for so long or `until` it is enough; whether it was.

        `until` is asked ten times a second, and at each acknowledgement.
        """
        deadline_s = time.monotonic() + for_s
        while not (enough := until()) and (left_s := deadline_s - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left_s, _LOOK_S)), aclosing(self._session.events()) as events:
                    async for event in events:
                        self._meet(event, take)
                        # Not after a message: it is acknowledged when the next event is asked for.
                        if isinstance(event, Ack) and until():
                            return True
            except TimeoutError:
                continue
        return enough

    async def publish(self, publications: Sequence[Publication], *, take: Take) -> list[int]:
        """Publish all at QoS 1; the broker's reason codes, in order. What comes meanwhile goes to `take`.

        Raises:
            TransientError: also if the broker leaves one without an answer.
            RefusedError: one is larger than the broker takes.
        """
        window = min(_WINDOW, self._session.limits.receive_maximum)
        waiting: dict[int, int] = {}
        reasons: dict[int, int] = {}

        async def answered(*, at_most: int) -> None:
            def enough() -> bool:
                for ticket in waiting.keys() & self._answers.keys():
                    reasons[waiting.pop(ticket)] = self._answers.pop(ticket)
                return len(waiting) <= at_most

            if not await self.hear(take, for_s=_ANSWER_S, until=enough):
                raise TransientError(
                    f"{self._client.broker} did not acknowledge what was published within {_ANSWER_S:g} s",
                    code=Code.TIMEOUT,
                    path="timeout",
                )

        for place, publication in enumerate(publications):
            await answered(at_most=window - 1)
            waiting[self._session.publish(publication)] = place
        await answered(at_most=0)
        return [reasons[place] for place in range(len(publications))]

    def _meet(self, event: Ack | Inbound | Closed, take: Take) -> None:
        match event:
            case Inbound():
                take(event)
            case Ack():
                self._answers[event.ticket] = event.reason
            case Closed():
                raise self._ended(event)

    def _ended(self, closed: Closed) -> TransientError:
        broker, name = self._client.broker, self._client.name
        alone = (
            "a broker keeps one connection for each name, so every person, and every job that runs by "
            "itself, needs a certificate of its own"
        )
        match closed.cause:
            case "taken-over":
                message = f"another client came to {broker} as {name!r}: {alone}"
            case "closed":
                # mosquitto says nothing to whom it drops for another client; whoever goes says nothing, too.
                message = (
                    f"the connection to {broker} has ended: {closed.detail}. The broker went, or another "
                    f"client came as {name!r}: {alone}"
                )
            case _:
                message = f"the connection to {broker} has ended: {closed.detail}"
        code = Code.REFUSED if closed.cause == "taken-over" else Code.NETWORK
        return TransientError(message, code=code, path=closed.cause)
