"""Sessions that are numbered and subscribed before anything is said in them."""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog

from agent.domain.errors import RefusedError, TransientError
from agent.pipeline.presence import Presence
from agent.ports import Condition, Link, Outbox, Session

log = structlog.get_logger(__name__)

_BEFORE_CONNECT: Final = frozenset({"dns", "tcp"})
"""Causes by which no CONNECT was sent: its session number has been seen by nobody."""


class Connector:
    """One attempt after another; `number` is that of the latest."""

    def __init__(
        self,
        *,
        link: Link,
        outbox: Outbox,
        presence: Presence,
        keepalive_s: int,
        subscriptions: Sequence[str],
        as_published: Collection[str],
        on_condition: Condition,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._presence = presence
        self._keepalive_s = keepalive_s
        self._subscriptions = tuple(subscriptions)
        self._as_published = as_published
        self._on_condition = on_condition
        self._number_is_unseen = False
        self.number = 0

    async def establish(self) -> Session:
        """A session with our will, whose number was on disk before its CONNECT.

        Raises:
            TransientError: not now; `path` carries the cause, if it is the link's.
        """
        if not self._number_is_unseen:
            self.number = await self._outbox.next_session()
        will = self._presence.will(self.number)
        self._number_is_unseen = False
        try:
            session = await self._link.connect(will=will, keepalive_s=self._keepalive_s)
        except TransientError as error:
            # Else each attempt of a long outage would cost the disk a sync.
            self._number_is_unseen = error.path in _BEFORE_CONNECT
            raise
        async with AsyncExitStack() as unless_subscribed:
            unless_subscribed.push_async_callback(session.disconnect)
            try:
                await session.subscribe(self._subscriptions, no_local=True, as_published=self._as_published)
            except RefusedError as error:
                # What the node has to say is worth no less because it may not listen.
                log.warning("link.subscription_refused", code=error.code, message=error.message)
                self._on_condition("subscriptions", "degraded", error.code, error.message)
            else:
                self._on_condition("subscriptions", "ok", None, None)
            unless_subscribed.pop_all()
        return session
