"""Who receives what the agent publishes: when each frame's message arrived, and whether any is missing."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from agent.adapters.mqtt import MqttLink
from agent.adapters.system.clock import SystemClock
from agent.contract.continuity import Continuity
from agent.ports import Closed, Inbound
from benchmarks.broker import RunningBroker

_KEEPALIVE_S = 20


@dataclass(frozen=True, slots=True)
class Arrival:
    """One frame's message: monotonic nanoseconds when it was made in the agent, and when it came here.

    Both count since boot, so they compare across processes of one machine.
    """

    made_ns: int
    arrived_ns: int
    objects: int


@dataclass(frozen=True, slots=True)
class Received:
    """`frames` in order of arrival; `messages` came, each counted once; `declared_lost` will never come."""

    frames: list[Arrival]
    messages: int
    declared_lost: int


class Consumer:
    """Keeps what one node sends through its outbox, and reads it when the measurement is over."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._clock = SystemClock()
        self._kept: list[tuple[int, Inbound]] = []

    def __len__(self) -> int:
        """Messages so far; duplicates count."""
        return len(self._kept)

    async def listen(self, broker: RunningBroker, *, on_listening: Callable[[], None]) -> None:
        """Receive until cancelled; `on_listening` is called when nothing can be missed any more.

        Raises:
            TransientError, RefusedError: the broker cannot be reached, or does not let us read.
            RuntimeError: it closed the connection.
        """
        link = MqttLink(
            host=broker.host,
            port=broker.port,
            client_id=broker.consumer_name,
            clock=self._clock,
            tls=broker.consumer,
        )
        session = await link.connect(will=None, keepalive_s=_KEEPALIVE_S)
        try:
            await session.subscribe([f"{self._base}/detections/#", f"{self._base}/loss"], no_local=False)
            on_listening()
            async for event in session.events():
                if isinstance(event, Inbound):
                    self._kept.append((self._clock.now().monotonic_ns, event))
                elif isinstance(event, Closed):
                    raise RuntimeError(f"the broker closed the connection: {event.detail}")
        finally:
            await session.disconnect()

    def read(self) -> Received:
        """What came, duplicates dropped."""
        continuity = Continuity()
        frames: list[Arrival] = []
        for arrived_ns, message in self._kept:
            stream = message.topic.removeprefix(f"{self._base}/")
            content = json.loads(message.payload)
            if continuity.see(stream, content) and stream != "loss":
                made_ms = content["monotonic_ms"] + content["latency_ms"]["total"]
                frames.append(Arrival(int(made_ms * 1e6), arrived_ns, len(content["objects"])))
        return Received(frames, continuity.received, continuity.declared_lost)
