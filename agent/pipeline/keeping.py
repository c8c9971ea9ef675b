"""The consumer's side of the outbox: what it has stored may go, what it has lost is sent again."""

from collections.abc import Callable
from typing import Final

import structlog

from agent.contract.policy import Policy
from agent.contract.problems import FaultyDocumentError
from agent.contract.stored import read_ack
from agent.contract.topics import Topics
from agent.domain.ids import Stream
from agent.ports import Clock, Inbound, KeepUntil, Metrics, Outbox, Replay

log = structlog.get_logger(__name__)

_LOGGED_EVERY_NS: Final = 10_000_000_000
_LONGEST_STREAM: Final = 256


class Keeping:
    """Takes `B/ack/{stream…}` and tells the outbox. Used on the event loop; nothing here waits.

    `on_sendable` is called when rows that were sent before may be sent again. A broker that lost what it had
    acknowledged shows no gap where nothing follows: so each session begins with the newest row of every
    stream that its consumer has not stored.
    """

    def __init__(
        self,
        *,
        until: KeepUntil,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        on_sendable: Callable[[], None],
    ) -> None:
        self._until = until
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._on_sendable = on_sendable
        self._logged_ns: int | None = None
        self._unlogged = 0

    def adopt(self, policy: Policy) -> None:
        """How long rows stay, from now on."""
        if policy.publish.keep_until != self._until:
            self._until = policy.publish.keep_until
            self._outbox.keep(self._until)

    def connected(self) -> None:
        """A session has come about, and nothing of the outbox was sent in it yet."""
        if self._until == "stored":
            self._outbox.remind()

    def receive(self, inbound: Inbound) -> None:
        """A message that somebody sent to this node; what is no ack, or a faulty one, changes nothing."""
        stream = self._topics.acked_stream(inbound.topic)
        if stream is None or not inbound.payload:  # an empty one takes the retained ack away
            return
        if self._until != "stored":
            return
        try:
            ack = read_ack(inbound.payload)
        except FaultyDocumentError as error:
            self._refuse(stream, error)
            return
        self._outbox.stored(stream, ack.epoch, ack.seq)

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """Send again what the broker had from `first` to `last`; the range that is still held, if any is.

        Raises:
            TransientError: the outbox is closed, or its disk refuses or does not answer.
        """
        found = await self._outbox.replay(stream, epoch, first, last)
        log.info(
            "keeping.replay_asked",
            stream=stream,
            epoch=epoch,
            first=first,
            last=last,
            rows=0 if found is None else found.rows,
        )
        if found is not None and found.rows:
            self._on_sendable()
        return found

    def _refuse(self, stream: Stream, error: FaultyDocumentError) -> None:
        self._metrics.count("outbox_stored_ignored_total", reason=error.code)
        self._unlogged += 1
        now_ns = self._clock.now().monotonic_ns
        if self._logged_ns is not None and now_ns - self._logged_ns < _LOGGED_EVERY_NS:
            return
        log.warning(
            "keeping.ack_refused",
            stream=stream[:_LONGEST_STREAM],
            code=error.code,
            message=error.message,
            count=self._unlogged,
        )
        self._logged_ns, self._unlogged = now_ns, 0
