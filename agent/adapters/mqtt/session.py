"""One connection as the event loop sees it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

import structlog
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.adapters.mqtt.causes import no_connection
from agent.adapters.mqtt.client import PahoClient
from agent.adapters.mqtt.credentials import Credentials
from agent.adapters.mqtt.events import Arrived, Ended, Established, NetworkEvent, Subscribed
from agent.adapters.mqtt.network import Asked, Network
from agent.adapters.mqtt.packets import packet_size, properties_of
from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import Ack, Clock, Closed, Limits, Publication, SessionEvent

log = structlog.get_logger(__name__)

_SUBSCRIBE_TIMEOUT_S = 10.0
_DISCONNECT_TIMEOUT_S = 2.0
_FAILURE = 0x80
_WILDCARDS = frozenset("+#")


class MqttSession:
    """Fulfils `ports.Session`; made by `MqttLink`.

    Events come from the network thread in batches: the first of a batch wakes the loop, the rest only
    join the queue. It is bounded by what is outstanding: acks by the caller's window, messages by the
    Receive Maximum of our CONNECT.
    """

    def __init__(self, *, asked: Asked, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._posted: deque[NetworkEvent] = deque()
        self._scheduled = False
        self._events: deque[Ack | Arrived | Closed] = deque()
        self._arrived = asyncio.Event()
        self._subscribing: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._established: asyncio.Future[Established] = self._loop.create_future()
        self._client: PahoClient | None = None
        self._limits = Limits(1, None, None)
        self._closed: Closed | None = None
        self._gone = asyncio.Event()
        self._network = Network(asked=asked, clock=clock, post=self._post)

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def credentials(self) -> Credentials | None:
        """What was shown to the broker; None before the attempt, and in plain text."""
        return self._network.credentials

    @property
    def thread_alive(self) -> bool:
        """Whether the network thread still runs; after a failed `establish` it may hang in a library."""
        return self._network.alive

    async def establish(self, *, timeout_s: float) -> None:
        """Raises: TransientError, with its cause, if there is no session after `timeout_s`."""
        self._network.start()
        is_established = False
        try:
            async with asyncio.timeout(timeout_s):
                self._limits = (await self._established).limits
            is_established = True
        except TimeoutError as error:
            raise no_connection("timeout", f"no session within {timeout_s:g} s") from error
        finally:
            if not is_established:
                self._network.give_up()

    def publish(self, publication: Publication) -> int:
        client = self._client
        if client is None or self._closed is not None:
            raise self._no_longer()
        try:
            return self._send(client, publication)
        except (ValueError, OverflowError) as error:  # paho's and ours, for what no packet can hold
            message = f"a message for {publication.topic!r} cannot be packed: {error}"
            raise RefusedError(message, code=Code.SCHEMA, path=publication.topic) from error

    async def subscribe(
        self,
        topics: Sequence[str],
        *,
        no_local: bool,
        as_published: Collection[str] = (),
        at_most_once: Collection[str] = (),
    ) -> None:
        """As `ports.Session` has it; `at_most_once`, some of `topics`, come at QoS 0.

        What comes of those faster than it is read is dropped, and keeps nothing else from coming.
        """
        if self._client is None or self._closed is not None:
            raise self._no_longer()
        wanted = [topic for topic in topics if self._limits.wildcard_subscriptions or not _is_wild(topic)]
        if wanted:
            options = {
                topic: SubscribeOptions(
                    qos=0 if topic in at_most_once else 1,
                    noLocal=no_local,
                    retainAsPublished=topic in as_published,
                )
                for topic in wanted
            }
            await self._subscribe(self._client, options)
        if left_out := [topic for topic in topics if topic not in wanted]:
            message = f"the broker takes no subscriptions with wildcards: {', '.join(left_out)} goes unheard"
            raise RefusedError(message, code=Code.REFUSED, path="subscribe")

    async def events(self) -> AsyncGenerator[SessionEvent, None]:
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, Arrived):
                    yield event.inbound
                    # Only now: while the reader lags, the broker holds back what follows.
                    self._network.read += 1
                    if event.qos and self._client is not None:
                        self._client.ack(event.mid, event.qos)
                    continue
                yield event
                if isinstance(event, Closed):
                    return
            self._arrived.clear()
            await self._arrived.wait()

    async def disconnect(self) -> None:
        if self._client is None or self._closed is not None:
            return
        self._network.leave(self._client)
        try:
            async with asyncio.timeout(_DISCONNECT_TIMEOUT_S):
                await self._gone.wait()
        except TimeoutError:
            log.warning("link.disconnect_timed_out", timeout_s=_DISCONNECT_TIMEOUT_S)
            self._network.give_up()

    async def _subscribe(self, client: PahoClient, topics: Mapping[str, SubscribeOptions]) -> None:
        rc, mid = client.subscribe(list(topics.items()))
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._no_longer()
        answer = self._subscribing[mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(_SUBSCRIBE_TIMEOUT_S):
                reasons = await answer
        except TimeoutError as error:
            raise no_connection("timeout", "the broker did not answer a subscription") from error
        finally:
            del self._subscribing[mid]
        refused = [
            f"{topic} (0x{reason:02X})"
            for topic, reason in zip(topics, reasons, strict=False)
            if reason >= _FAILURE
        ]
        if refused:
            message = f"the broker refused the subscription to {', '.join(refused)}"
            raise RefusedError(message, code=Code.REFUSED, path="subscribe")

    def _send(self, client: PahoClient, publication: Publication) -> int:
        properties = properties_of(publication)
        largest = self._limits.maximum_packet_size
        if largest is not None and (size := packet_size(publication, properties)) > largest:
            message = f"a packet for {publication.topic} has {size} bytes, the broker takes {largest}"
            raise RefusedError(message, code=Code.SIZE, path=publication.topic)
        while True:
            sent = client.publish(
                publication.topic, publication.payload, publication.qos, publication.retain, properties
            )
            if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                return sent.mid
            # The identifiers have gone round, and this one still waits for its PUBACK: take the next.
            if sent.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                raise self._no_longer()

    def _no_longer(self) -> TransientError:
        if self._closed is not None:
            return TransientError(self._closed.detail, code=Code.NETWORK, path=self._closed.cause)
        return no_connection("closed", "the connection is gone")

    def _post(self, event: NetworkEvent) -> None:
        """Called in the network thread."""
        self._posted.append(event)
        if self._scheduled:
            return
        self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._network.give_up()

    def _deliver(self) -> None:
        self._scheduled = False  # before looking: what is posted from here on calls again
        posted = self._posted
        while posted:
            event = posted.popleft()
            if isinstance(event, (Ack, Arrived)):
                self._events.append(event)
            elif isinstance(event, Subscribed):
                answer = self._subscribing.get(event.mid)
                if answer is not None and not answer.done():
                    answer.set_result(event.reasons)
            elif isinstance(event, Established):
                self._client = event.client
                if not self._established.done():
                    self._established.set_result(event)
            else:
                self._end(event)
        self._arrived.set()

    def _end(self, ended: Ended) -> None:
        self._closed = ended.closed
        if self._client is not None:
            self._client.release()
        self._events.append(ended.closed)
        self._gone.set()
        if self._network.dropped:
            log.warning("link.messages_dropped", count=self._network.dropped, reason="unread")
        for answer in self._subscribing.values():
            if not answer.done():
                answer.set_exception(self._no_longer())
        if not self._established.done():
            self._established.set_exception(ended.error or self._no_longer())


def _is_wild(topic: str) -> bool:
    return not _WILDCARDS.isdisjoint(topic)
