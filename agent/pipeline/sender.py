"""Does what the drain decides, on one session: publishes, settles with the outbox, counts and measures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import structlog

from agent.contract.topics import Topics
from agent.domain.errors import Code, RefusedError, TransientError
from agent.domain.stamp import Stamp
from agent.pipeline.audience import Audience
from agent.pipeline.drain import Drain
from agent.pipeline.outgoing import NO_SUBSCRIBER, PACKET_TOO_LARGE, publication_of
from agent.pipeline.parcel import Answered, Parcel
from agent.pipeline.refusals import HANGS_UP, Refusals
from agent.ports import Ack, Clock, Metrics, Outbox, Publication, Row, Session

log = structlog.get_logger(__name__)

_WORTH_A_FLUSH: Final = 64
_FLUSH_EVERY_NS: Final = 50_000_000
"""Each flush wakes the outbox's thread, which then wants the interpreter that this one is working with."""


@dataclass(frozen=True, slots=True)
class DeliveryStatistics:
    """Rows since this process began; `in_flight` counts everything at QoS 1 that is not acknowledged.

    `published` counts each sending, so what was sent twice counts twice. `unheard` were acknowledged though
    nobody subscribes.
    """

    published: int
    acknowledged: int
    refused: int
    retried: int
    unheard: int
    in_flight: int


class _Taken(NamedTuple):
    """A row that the broker has taken; times are monotonic."""

    row: Row
    sent_ns: int
    received_ns: int
    reason: int


class Sender:
    """Used on the event loop; nothing here waits.

    Acknowledged rows are handed to the outbox in batches: `flush`, once for all acks of one turn.
    """

    def __init__(
        self,
        *,
        drain: Drain,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        refusals: Refusals,
        audience: Audience,
        max_message_bytes: int,
    ) -> None:
        self._drain = drain
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._refusals = refusals
        self._audience = audience
        self._max_message_bytes = max_message_bytes
        self._boot = clock.boot
        self._began_ns = clock.now().monotonic_ns
        self._session: Session | None = None
        self._acknowledged: list[int] = []
        self._untold: list[_Taken] = []
        self._flushed_ns = 0
        self._counted = DeliveryStatistics(0, 0, 0, 0, 0, 0)
        self._published_count = 0
        self._acknowledged_count = 0
        self._refused_count = 0
        self._retried_count = 0
        self._unheard_count = 0
        self.live_lag_ns = 0
        """From commitment to acknowledgement, of the row made in this session that was acknowledged last."""

    def limit(self, max_message_bytes: int) -> None:
        """A larger row is set aside from now on."""
        self._max_message_bytes = max_message_bytes

    def statistics(self) -> DeliveryStatistics:
        return DeliveryStatistics(
            published=self._published_count,
            acknowledged=self._acknowledged_count,
            refused=self._refused_count,
            retried=self._retried_count,
            unheard=self._unheard_count,
            in_flight=len(self._drain.window),
        )

    def begin(
        self,
        session: Session,
        *,
        birth: Sequence[Publication],
        backlog_delay_s: float = 0.0,
        resumes: bool = False,
    ) -> None:
        """Send on this session from now on, `birth` first, the backlog after `backlog_delay_s`.

        `resumes`: after a short break, so that what has come since the session before is no backlog.
        """
        now_ns = self._clock.now().monotonic_ns
        self._drain.begin(
            receive_maximum=session.limits.receive_maximum,
            birth=birth,
            newest_key=self._outbox.newest_key,
            backlog_from_ns=now_ns + int(backlog_delay_s * 1e9),
            resumes=resumes,
        )
        self._session = session
        self.pump()

    def end(self, *, broke: bool) -> None:
        """The session is over. `broke`: so that a message may have been why."""
        self.flush(at_once=True)
        self._session = None
        culprit = self._drain.end(broke_at_ns=self._clock.now().monotonic_ns if broke else None)
        if culprit is not None:
            self._metrics.count("delivery_culprits_total")
            self._set_aside(culprit, "refused", None)
            self._refusals.row(culprit, HANGS_UP, "the broker hangs up on it")

    def pump(self) -> None:
        """Send what may be sent."""
        session = self._session
        if session is None:
            return
        now = self._clock.now()
        self._drain.look(now.monotonic_ns, newest_key=self._outbox.newest_key)
        while (parcel := self._drain.next()) is not None:
            try:
                self._send(session, parcel, now)
            except TransientError:
                # The session is over, and its `Closed` is on its way to whoever reads its events.
                self._session = None
                return

    def publish_now(self, publication: Publication) -> bool:
        """Past all queues. True: an ack will come. False: for want of room at QoS 0, or not at all."""
        session = self._session
        if session is None:
            return False
        parcel = Parcel(publication)
        has_room = self._drain.window.has_room(parcel.size)
        if not has_room:
            # The broker's Receive Maximum holds for QoS 1 only (MQTT 5.0, 3.3.4).
            publication = replace(publication, qos=0)
        try:
            ticket = session.publish(publication)
        except (RefusedError, TransientError):
            return False
        if has_room:
            self._drain.sent(parcel, ticket, self._clock.now().monotonic_ns)
        return has_room

    def settle(self, ack: Ack) -> Answered | None:
        """A PUBACK came in; tell `flush` after the last of a turn."""
        answered = self._drain.settle(ack.ticket, ack.reason, ack.received_ns)
        if answered is None:
            return None
        item = answered.parcel.item
        if isinstance(item, Row):
            self._settle_row(item, answered, ack)
        elif answered.verdict in {"refused", "oversize"}:
            self._refuse(item, ack.reason, "the broker refuses it")
        if answered.verdict == "later":
            self._retried_count += 1
            log.debug("delivery.message_held_back", code=ack.reason, failures=answered.parcel.failures + 1)
        return answered

    def flush(self, *, at_once: bool = False) -> None:
        """Settle with the outbox and with the metrics what has come together, as soon as that is worth it.

        It is when nothing is on its way any more; under load, when many have come, or none was for a while.
        """
        now_ns = self._clock.now().monotonic_ns
        is_due = at_once or not len(self._drain.window) or now_ns - self._flushed_ns >= _FLUSH_EVERY_NS
        if not is_due and len(self._acknowledged) < _WORTH_A_FLUSH:
            return
        self._flushed_ns = now_ns
        if self._acknowledged:
            self._outbox.acknowledge(self._acknowledged)
            self._drain.supply.settled(self._acknowledged)
            self._acknowledged = []
            taken, self._untold = self._untold, []
            self._tell(taken)
        before, now = self._counted, self.statistics()
        if now == before:
            return
        self._counted = now
        metrics = self._metrics
        metrics.count("delivery_published_total", now.published - before.published)
        metrics.count("delivery_acknowledged_total", now.acknowledged - before.acknowledged)
        metrics.count("delivery_retried_total", now.retried - before.retried)
        metrics.count("delivery_unheard_total", now.unheard - before.unheard)
        metrics.gauge("delivery_in_flight", now.in_flight)

    def _send(self, session: Session, parcel: Parcel, now: Stamp) -> None:
        """Raises: TransientError, if the session is over."""
        item = parcel.item
        try:
            publication = self._publication(item, parcel, now) if isinstance(item, Row) else item
            if isinstance(item, Row):  # a node that may not introduce itself helps nobody
                self._check_size(publication)
            ticket = session.publish(publication)
        except RefusedError as error:
            is_oversize = error.code == Code.SIZE
            self._refuse(item, PACKET_TOO_LARGE if is_oversize else None, error.message)
            return
        if publication.qos:
            self._drain.sent(parcel, ticket, now.monotonic_ns)
        if isinstance(item, Row):
            self._published_count += 1

    def _check_size(self, publication: Publication) -> None:
        size = len(publication.payload)
        if size > self._max_message_bytes:
            message = f"{size} bytes, {self._max_message_bytes} are allowed"
            raise RefusedError(message, code=Code.SIZE, path=publication.topic)

    def _publication(self, row: Row, parcel: Parcel, now: Stamp) -> Publication:
        # A row committed before this process began may have been sent by the one before.
        is_older = row.boot != self._boot or row.committed_ns < self._began_ns
        replay = parcel.sent_before or is_older or row.again
        return publication_of(
            row,
            topics=self._topics,
            now=now,
            boot=self._boot,
            synced=self._clock.synced(),
            replay=replay,
        )

    def _settle_row(self, row: Row, answered: Answered, ack: Ack) -> None:
        match answered.verdict:
            case "taken":
                self._acknowledged.append(row.key)
                self._acknowledged_count += 1
                if ack.reason == NO_SUBSCRIBER:
                    self._unheard_count += 1
                    self._audience.unheard(row.stream)
                else:
                    self._audience.heard(row.stream)
                if answered.parcel.lane != "backlog":
                    self.live_lag_ns = ack.received_ns - row.committed_ns
                self._untold.append(_Taken(row, answered.sent_ns, ack.received_ns, ack.reason))
            case "refused" | "oversize":
                self._refuse(row, ack.reason, "the broker refuses it")
            case "later":
                pass

    def _tell(self, taken: Sequence[_Taken]) -> None:
        """What the broker has taken, for the log and the metrics."""
        bound = log.bind()  # which level is told was looked up with this, once for all of them
        for each in taken:
            bound.debug("delivery.row_acknowledged", trace=each.row.trace, code=each.reason)
        metrics = self._metrics
        metrics.observe_all("stage_seconds", [(t.received_ns - t.sent_ns) / 1e9 for t in taken], stage="ack")
        own = [each for each in taken if each.row.boot == self._boot]
        if not own:
            return
        outbox_s = [(t.row.committed_ns - t.row.made.monotonic_ns) / 1e9 for t in own]
        metrics.observe_all("stage_seconds", outbox_s, stage="outbox")
        metrics.observe_all(
            "stage_seconds", [(t.sent_ns - t.row.committed_ns) / 1e9 for t in own], stage="publish"
        )
        total_s = [(t.received_ns - t.row.captured.monotonic_ns) / 1e9 for t in own if t.row.captured]
        metrics.observe_all("capture_to_ack_seconds", total_s)

    def _refuse(self, item: Row | Publication, code: int | None, why: str) -> None:
        if isinstance(item, Publication):
            self._refusals.announcement(item.topic, code)
            return
        self._set_aside(item, "oversize" if code == PACKET_TOO_LARGE else "refused", code)
        self._refusals.row(item, code, why)

    def _set_aside(self, row: Row, reason: Literal["refused", "oversize"], code: int | None) -> None:
        self._refused_count += 1
        self._outbox.refuse(row.key, reason=reason, code=code)
        self._drain.supply.settled((row.key,))
