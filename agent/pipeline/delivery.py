"""From the outbox to the broker: one session after another, whatever happens in between."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from agent.contract.payloads import LastOffline
from agent.contract.policy import Policy
from agent.contract.topics import Topics
from agent.domain.errors import TransientError
from agent.pipeline.announcements import Announcements
from agent.pipeline.audience import Audience
from agent.pipeline.connecting import Connector
from agent.pipeline.conversation import Conversation
from agent.pipeline.drain import Drain
from agent.pipeline.feed import Feed
from agent.pipeline.figures import Figures
from agent.pipeline.interruptible import Interruptible
from agent.pipeline.outage import Outage
from agent.pipeline.presence import Presence
from agent.pipeline.refusals import Refusals
from agent.pipeline.rivalry import Rivalry
from agent.pipeline.sender import DeliveryStatistics, Sender
from agent.pipeline.setbacks import RENEWAL, Setbacks
from agent.pipeline.stagger import Stagger
from agent.pipeline.supervise import Ticks, accompany, within
from agent.ports import Clock, Closed, Condition, Inbound, Link, Metrics, Outbox, Session

log = structlog.get_logger(__name__)

_BEAT_S: Final = 0.25
_DRAIN_SHARE: Final = 0.5
_FAREWELL_SHARE: Final = 0.25
_MOST_BYTES_IN_FLIGHT: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class _Ending:
    """An ordered stop; times are the loop's."""

    reason: str
    say_at: float
    leave_at: float
    gone_at: float


class Delivery:
    """Drains the outbox while there is a session, and sees to it that there is one.

    `on_inbound` gets messages from `subscriptions`; it must not block. `on_connected` is called when a
    session has come about, before its birth is gathered from `announcements`, so that what it retains
    there is part of the birth; it gets why the broker was out of reach, if it was.
    """

    def __init__(
        self,
        *,
        link: Link,
        outbox: Outbox,
        announcements: Announcements,
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        topics: Topics,
        window: int,
        keepalive_s: int,
        random: Random,
        on_condition: Condition,
        on_inbound: Callable[[Inbound], None],
        on_connected: Callable[[LastOffline | None], None],
        subscriptions: Sequence[str] = (),
        max_message_bytes: int = 262_144,
        backlog_per_s: float | None = None,
        batch: int = 128,
        ack_timeout_s: float = 60.0,
        figures_every_s: float = 2.0,
        backoff_base_s: float = 1.0,
        backoff_cap_s: float = 60.0,
    ) -> None:
        self._outbox = outbox
        self._announcements = announcements
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._topics = topics
        self._on_condition = on_condition
        self._on_inbound = on_inbound
        self._on_connected = on_connected
        self._ack_timeout_s = ack_timeout_s
        self._outage = Outage(
            clock=clock, random=random, backoff_base_s=backoff_base_s, backoff_cap_s=backoff_cap_s
        )
        self._presence = Presence(topics=topics, clock=clock)
        self._connector = Connector(
            link=link,
            outbox=outbox,
            presence=self._presence,
            keepalive_s=keepalive_s,
            subscriptions=(topics.state, *subscriptions),
            # A command that somebody retains comes at once, too. Presence goes by the broker's own flag.
            as_published=(topics.commands,),
            on_condition=on_condition,
        )
        self._refusals = Refusals(clock=clock, metrics=metrics, on_condition=on_condition)
        self._rivalry = Rivalry(clock=clock, on_condition=on_condition)
        self._setbacks = Setbacks(
            outage=self._outage, rivalry=self._rivalry, metrics=metrics, on_condition=on_condition
        )
        self._audience = Audience(on_condition=on_condition)
        self._stagger = Stagger(outbox=outbox, random=random)
        self._drain = Drain(
            window=window,
            most_bytes=_MOST_BYTES_IN_FLIGHT,
            batch=batch,
            random=random,
            backlog_per_s=backlog_per_s,
        )
        self._feed = Feed(
            outbox=outbox,
            announcements=announcements,
            drain=self._drain,
            on_news=self._turn,
            on_condition=on_condition,
        )
        self._sender = Sender(
            drain=self._drain,
            outbox=outbox,
            topics=topics,
            clock=clock,
            metrics=metrics,
            refusals=self._refusals,
            audience=self._audience,
            max_message_bytes=max_message_bytes,
        )
        self._figures = Figures(
            drain=self._drain,
            sender=self._sender,
            feed=self._feed,
            outbox=outbox,
            clock=clock,
            metrics=metrics,
            every_s=figures_every_s,
        )
        self._conversation: Conversation | None = None
        self._ending: _Ending | None = None
        self._interruptible = Interruptible()
        self._is_connected = asyncio.Event()
        self._is_drained = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._conversation is not None

    @property
    def session(self) -> int:
        """The number of the session, or of the one being tried; 0 before the first."""
        return self._connector.number

    @property
    def last_offline(self) -> LastOffline | None:
        """When and why the broker was out of reach the last time; None if it never was."""
        return self._outage.last

    def statistics(self) -> DeliveryStatistics:
        """Counters since the process began."""
        return self._sender.statistics()

    async def wait_connected(self) -> None:
        """Wait until there is a session."""
        await self._is_connected.wait()

    async def wait_drained(self) -> None:
        """Wait until everything committed and announced so far has been acknowledged."""
        self._look_again()
        await self._is_drained.wait()

    def renew(self) -> None:
        """Move to another session, to show other certificates. Nothing is lost by it, or sent twice.

        Without a session there is nothing to do: the next one begins with them.
        """
        if self._conversation is not None and self._ending is None:
            self._conversation.move(Closed(RENEWAL, "the certificates were renewed"))

    def adopt(self, policy: Policy) -> None:
        """Window, rate and size as the policy says, from now on."""
        self._drain.adopt(policy.publish)
        self._sender.limit(policy.publish.max_message_bytes)
        self._turn()

    def send_again(self) -> None:
        """Rows may wait that did not when their place was passed: look for them from the oldest on.

        What is on its way is not sent twice by this. What the broker has had goes with the backlog, and as
        fast; what was made in this session and has not gone yet is late, and waits for none of it.
        """
        self._drain.supply.start_over(newest_key=self._outbox.newest_key)
        self._feed.look()

    async def run(self) -> None:
        """Returns after `stop`, by its deadline."""
        companions = {"delivery[beat]": self._beat(), "delivery[figures]": self._figures.run()}
        await accompany(self._live(), {**self._feed.coroutines(), **companions})
        self._ticks.retire("delivery")

    def stop(self, *, reason: str, within_s: float) -> None:
        """Let `run` end: drain while there is a session and time, say `offline` with `reason`, disconnect.

        Without a session it ends at once. Half of the time may go into draining.
        """
        now = asyncio.get_running_loop().time()
        say_at = now + _DRAIN_SHARE * within_s
        self._ending = _Ending(reason, say_at, say_at + _FAREWELL_SHARE * within_s, now + within_s)
        if self._conversation is not None:
            self._conversation.stay()
        self._interruptible.interrupt()
        self._look_again()
        self._turn()

    async def _live(self) -> None:
        self._metrics.gauge("link_connected", 0)
        while self._ending is None:
            session = await self._attempt()
            if session is None:
                continue
            try:
                closed = await self._converse(session)
            finally:
                self._conversation = None
                self._is_connected.clear()
                self._metrics.gauge("link_connected", 0)
                await self._leave(session)
            await self._wait_after_loss(closed)

    async def _attempt(self) -> Session | None:
        """A session, subscribed; None after a failure, which has been waited out, or when told to stop."""
        try:
            async with self._interruptible.section():
                return await self._connector.establish()
        except TransientError as error:
            await self._pause(self._setbacks.attempt_failed(error))
        return None

    async def _converse(self, session: Session) -> Closed:
        self._outage.end()
        backlog_delay_s = await self._stagger.delay_s(self._outage.length_s)
        self._conversation = Conversation(
            session=session,
            number=self._connector.number,
            state_topic=self._topics.state,
            drain=self._drain,
            sender=self._sender,
            feed=self._feed,
            presence=self._presence,
            clock=self._clock,
            on_inbound=self._on_inbound,
            on_rival=self._rivalry.note,
            ack_timeout_s=self._ack_timeout_s,
            drained=self._is_drained,
        )
        log.info(
            "link.connected", session=self._connector.number, receive_maximum=session.limits.receive_maximum
        )
        self._on_condition("link", "ok", None, None)
        self._on_connected(self._outage.last)
        self._metrics.gauge("link_connected", 1)
        self._is_connected.set()
        birth = self._announcements.birth()
        return await self._conversation.hold(
            birth, backlog_delay_s=backlog_delay_s, resumes=self._outage.was_short
        )

    async def _wait_after_loss(self, closed: Closed) -> None:
        if self._ending is not None:
            if closed.cause == "left":
                log.info("link.left", session=self._connector.number, reason=self._ending.reason)
            else:
                log.warning("link.farewell_unheard", session=self._connector.number, detail=closed.detail)
            return
        delay_s = self._setbacks.session_lost(closed, session=self._connector.number)
        await self._pause(delay_s)

    async def _leave(self, session: Session) -> None:
        if self._ending is None:
            await session.disconnect()
        else:
            left_s = self._ending.gone_at - asyncio.get_running_loop().time()
            await within(max(0.0, left_s), "link", session.disconnect())

    async def _pause(self, delay_s: float) -> None:
        async with self._interruptible.section():
            await asyncio.sleep(delay_s)

    def _look_again(self) -> None:
        """What was committed a moment ago may not have been noticed yet."""
        self._is_drained.clear()
        self._drain.supply.live.expect_more()
        self._feed.look()

    def _turn(self) -> None:
        """Something may be sent, or the time to leave has come."""
        conversation = self._conversation
        if conversation is None:
            return
        conversation.turn()
        ending = self._ending
        if ending is None:
            return
        now = asyncio.get_running_loop().time()
        if self._is_drained.is_set() or now >= ending.say_at:
            conversation.say_farewell(ending.reason)
        if now >= ending.leave_at:
            conversation.leave()

    async def _beat(self) -> None:
        while True:
            self._ticks.tick("delivery")
            self._refusals.look()
            self._audience.look()
            self._rivalry.look()
            if self._conversation is not None:
                self._conversation.beat()
                self._turn()
            await asyncio.sleep(_BEAT_S)
