"""The yardstick: paho by itself, nothing stored, its network thread alone at work.

Each PUBACK's callback publishes the next message, so that the window is always full and no other thread
wants the interpreter: a producer with a semaphore reaches 0.5 to 0.7 of this, paho's own queue 0.6 to 0.9.
"""

import ssl
import threading
import time
from typing import Final

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.contract.topics import Topics
from benchmarks.delivery.processes import answer_with, read_task
from benchmarks.delivery.tasks import BODY, ROWS_OF, SITE, WINDOW, Place, SendTask, Sent

_KEEPALIVE_S: Final = 20
_CONNECT_S: Final = 10.0
_PATIENCE_S: Final = 300.0


class Stream:
    """Callbacks of one client, which sends `messages`."""

    def __init__(self, client: Client, topic: str, messages: int) -> None:
        self._client = client
        self._topic = topic
        self._left = messages
        self._unanswered = messages
        self.acknowledged = 0
        self.connected = threading.Event()
        self.done = threading.Event()
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish

    def start(self) -> None:
        """Fill the window."""
        for _ in range(min(WINDOW, self._left)):
            self._send()

    def _send(self) -> None:
        self._left -= 1
        self._client.publish(self._topic, BODY, qos=1)

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not reason.is_failure:
            self.connected.set()

    def _on_publish(
        self, _client: Client, _userdata: object, _mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._unanswered -= 1
        self.acknowledged += not reason.is_failure
        if self._left:
            self._send()
        elif not self._unanswered:
            self.done.set()


def send(task: SendTask) -> Sent:
    """Raises: RuntimeError (no connection, or acknowledgements that never came)."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=task.place.node, protocol=MQTTProtocolVersion.MQTTv5
    )
    client.tls_set_context(_context(task.place))
    client.max_inflight_messages_set(WINDOW)
    _, name = ROWS_OF[task.kind]
    stream = Stream(client, Topics(SITE, task.place.node).below(name), task.messages)
    client.connect(task.place.host, task.place.port, _KEEPALIVE_S)
    client.loop_start()
    try:
        _wait(stream.connected, _CONNECT_S, "no connection to the broker")
        began, began_cpu = time.perf_counter(), time.process_time()
        stream.start()
        _wait(stream.done, _PATIENCE_S, "messages were not acknowledged")
        return Sent(stream.acknowledged, time.perf_counter() - began, cpu_s=time.process_time() - began_cpu)
    finally:
        client.disconnect()
        client.loop_stop()


def _context(place: Place) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=place.ca)
    context.load_cert_chain(place.certificate, place.key)
    return context


def _wait(event: threading.Event, within_s: float, otherwise: str) -> None:
    if not event.wait(within_s):
        raise RuntimeError(f"{otherwise} within {within_s:g} s")


if __name__ == "__main__":
    answer_with(send(read_task(SendTask)))
