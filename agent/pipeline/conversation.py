"""One session, from its birth to its end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from agent.pipeline.drain import Drain
from agent.pipeline.feed import Feed
from agent.pipeline.interruptible import Interruptible
from agent.pipeline.presence import Presence
from agent.pipeline.sender import Sender
from agent.ports import Ack, Clock, Closed, Inbound, Publication, Session

log = structlog.get_logger(__name__)

_REASSERT_EVERY_S: Final = 0.5
_MOVE_WITHIN_S: Final = 5.0
"""For what is on its way to be acknowledged, so that it need not be sent again in the next session."""

_MAY_BE_A_MESSAGE: Final = frozenset({"closed", "refused"})
"""Causes of an end that a broker may have had in what we sent; the others have nothing to do with it."""


class Conversation:
    """Answers what comes from the broker and keeps sending; everything happens in turns on the event loop.

    A turn settles the acks that came together, sends what there is room for, and asks for more rows.
    `drained` is set while everything known has been sent and answered.
    """

    def __init__(
        self,
        *,
        session: Session,
        number: int,
        state_topic: str,
        drain: Drain,
        sender: Sender,
        feed: Feed,
        presence: Presence,
        clock: Clock,
        on_inbound: Callable[[Inbound], None],
        on_rival: Callable[[], None],
        ack_timeout_s: float,
        drained: asyncio.Event,
    ) -> None:
        self._session = session
        self._number = number
        self._state_topic = state_topic
        self._drain = drain
        self._sender = sender
        self._feed = feed
        self._presence = presence
        self._clock = clock
        self._on_inbound = on_inbound
        self._on_rival = on_rival
        self._ack_timeout_s = ack_timeout_s
        self._loop = asyncio.get_running_loop()
        self._interruptible = Interruptible()
        self._closed = Closed("unheard", "the broker has not acknowledged the farewell")
        self._online = presence.online(number)
        self._overwritten = False
        self._asserted_at = self._loop.time()
        self._rival = False
        self._farewell: Publication | None = None
        self._move_by: float | None = None
        self._turn_is_due = False
        self._drained = drained

    async def hold(
        self, birth: Sequence[Publication], *, backlog_delay_s: float, resumes: bool = False
    ) -> Closed:
        """Serve the session until it ends, or until `leave`; why it ended.

        It begins as `Sender.begin` says. After an ordered stop the cause is `left` if the broker has
        acknowledged the farewell.
        """
        self._sender.begin(
            self._session,
            birth=[*birth, self._online],
            backlog_delay_s=backlog_delay_s,
            resumes=resumes,
        )
        self._feed.look()
        try:
            async with self._interruptible.section():
                async for event in self._session.events():
                    match event:
                        case Ack():
                            self._settle(event)
                        case Inbound():
                            self._receive(event)
                        case Closed():
                            self._closed = event
        finally:
            self._drained.clear()
            self._sender.end(broke=self._closed.cause in _MAY_BE_A_MESSAGE and self._farewell is None)
        if self._rival and self._closed.cause == "closed":
            return Closed("taken-over", "another client came with this node's name")
        return self._closed

    def turn(self) -> None:
        """Do what can be done now."""
        self._turn_is_due = False
        self._sender.flush()
        if self._move_by is not None and self._farewell is None:
            if not len(self._drain.window) or self._loop.time() >= self._move_by:
                self.leave()
            return
        self._sender.pump()
        self._feed.look()
        if self._drain.open and self._drain.idle:
            self._drained.set()
        else:
            self._drained.clear()

    def beat(self) -> None:
        """Now and then: what no event brings about."""
        self._reassert()
        oldest_ns = self._drain.window.oldest_sent_ns
        if oldest_ns is None:
            return
        waited_s = (self._clock.now().monotonic_ns - oldest_ns) / 1e9
        if waited_s > self._ack_timeout_s and self._farewell is None:
            self._closed = Closed("timeout", f"no acknowledgement for {waited_s:.0f} s")
            self._interruptible.interrupt()

    def move(self, why: Closed) -> None:
        """Begin nothing more, and let `hold` return `why` once what is on its way has been answered."""
        self._closed = why
        self._move_by = self._loop.time() + _MOVE_WITHIN_S
        self.turn()

    def stay(self) -> None:
        """Take `move` back: the node is to stop, and has to say so in this session."""
        self._move_by = None

    def say_farewell(self, reason: str) -> None:
        """Publish `offline`, once; with its acknowledgement `hold` returns."""
        if self._farewell is not None or not self._drain.open:
            return
        self._farewell = self._presence.offline(self._number, reason)
        if not self._sender.publish_now(self._farewell):
            self.leave()

    def leave(self) -> None:
        """Let `hold` return."""
        self._interruptible.interrupt()

    def _settle(self, ack: Ack) -> None:
        answered = self._sender.settle(ack)
        if answered is not None and answered.parcel.item is self._farewell:
            self._closed = Closed("left", "the broker has the farewell")
            self.leave()
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self.turn)

    def _receive(self, inbound: Inbound) -> None:
        if inbound.topic != self._state_topic:
            self._on_inbound(inbound)
        elif self._presence.is_rivals(inbound):
            self._rival = True
            self._on_rival()
        elif self._presence.is_overwritten(inbound):
            self._overwritten = True
            self._reassert()

    def _reassert(self) -> None:
        """Say `online` again over another's word, but do not shout."""
        now = self._loop.time()
        if self._overwritten and self._farewell is None and now - self._asserted_at >= _REASSERT_EVERY_S:
            self._overwritten = False
            self._asserted_at = now
            log.info("link.state_overwritten", session=self._number)
            self._drain.announce([self._online])
            self._sender.pump()
