"""A cloud developer's side of the demo: subscribes, counts, and proves that nothing is missing."""

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.adapters.mqtt import MqttLink
from agent.adapters.mqtt.credentials import TlsFiles
from agent.adapters.system.clock import SystemClock
from agent.contract.continuity import Continuity
from agent.contract.topics import Topics
from agent.demo.broker import HOST
from agent.demo.scenario import NODE, SITE
from agent.ports import Closed, Inbound

_RATE_WINDOW_S = 5.0
_KEEPALIVE_S = 10
_STREAMS = frozenset({"detections", "telemetry", "events", "result", "loss"})


@dataclass(slots=True)
class SourceView:
    """What came of one source; the latest message speaks for it."""

    kind: str
    messages: int = 0
    arrivals_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    latest: dict[str, Any] = field(default_factory=dict)
    classes: Counter[str] = field(default_factory=Counter)
    anomalies: int = 0

    def rate_hz(self, now_s: float) -> float:
        """Messages a second over the last five seconds."""
        while self.arrivals_s and now_s - self.arrivals_s[0] > _RATE_WINDOW_S:
            self.arrivals_s.popleft()
        return len(self.arrivals_s) / _RATE_WINDOW_S


class Consumer:
    """Everything that was published by the demo's node, as far as it arrived here."""

    def __init__(self) -> None:
        self._base = Topics(SITE, NODE).base
        self._clock = SystemClock()
        self.continuity = Continuity()
        self.sources: dict[str, SourceView] = {}
        self.retained: dict[str, dict[str, Any]] = {}
        """The last value of state, health, info and heartbeat."""

    async def listen(self, folder: Path, *, port: int, name: str, on_listening: Callable[[], None]) -> Closed:
        """Subscribe to all that the node says, until the broker goes away.

        `name` has its certificate in `folder`; `on_listening` is called when nothing can be missed any more.

        Raises:
            TransientError: the broker cannot be reached.
        """
        tls = TlsFiles(ca=folder / "ca.pem", certificate=folder / f"{name}.pem", key=folder / f"{name}.key")
        link = MqttLink(host=HOST, port=port, client_id=name, clock=self._clock, tls=tls)
        session = await link.connect(will=None, keepalive_s=_KEEPALIVE_S)
        closed = Closed("closed", "")
        try:
            await session.subscribe([f"{self._base}/#"], no_local=False)
            on_listening()
            async for event in session.events():
                if isinstance(event, Inbound):
                    self.take(event)
                elif isinstance(event, Closed):
                    closed = event
        finally:
            await session.disconnect()
        return closed

    def take(self, message: Inbound) -> None:
        """Count one message in."""
        stream = message.topic.removeprefix(f"{self._base}/")
        kind, _, source = stream.partition("/")
        content = json.loads(message.payload) if message.payload else {}
        if kind not in _STREAMS:
            self.retained[kind] = content
            return
        if not self.continuity.see(stream, content) or not source:
            return
        view = self.sources.setdefault(source, SourceView(kind=kind))
        view.messages += 1
        view.latest = content
        view.arrivals_s.append(self._clock.now().monotonic_ns / 1e9)
        view.classes.update(found["class"] for found in content.get("objects", ()))
        view.anomalies += sum(score["score"] > score["threshold"] for score in content.get("scores", ()))

    def now_s(self) -> float:
        return self._clock.now().monotonic_ns / 1e9
