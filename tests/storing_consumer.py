"""A consumer as `keep_until: stored` wants it: what it has, it has on disk; only then it says so.

What makes it one, for whoever writes another:

* It stores a message before it acknowledges anything, and knows again after a restart what it has stored.
* It says per stream on ``B/ack/{stream}``, retained, up to which number nothing is missing (a declared loss
  counts as had), and says so again at each connection, because a broker may lose retained messages as well.
* What it misses (`gaps`) it asks for by ``replay``; what the node has no more, it forgoes.

Its broker may be killed at any moment. While it is `away`, the broker queues for it: what a killed broker
without persistence loses is then certain.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.contract.continuity import Continuity, StreamKey
from agent.domain.ids import Stream
from agent.ports import Replay
from tests.brokers import HOST, OPERATOR, Authority

_SESSION_S: Final = 600
_TIMEOUT_S: Final = 20.0

Ask = Callable[[Stream, str, int, int], Awaitable[Replay | None]]
"""Have a node send numbers of a stream and epoch again; None: it has nothing of them."""


class StoringConsumer:
    """Stores what one node sends into the SQLite file `file`. Several may follow one another on the file.

    `open`, `leave` and `close` block. The rest may be called from any thread.
    """

    def __init__(self, file: Path, *, authority: Authority, port: int, base: str) -> None:
        identity = authority.issue(OPERATOR)
        self._context = ssl.create_default_context(cafile=identity.ca)
        self._context.load_cert_chain(identity.certificate, identity.key)
        self._port = port
        self._base = base
        self._client: paho.Client | None = None
        self._listening = threading.Event()
        self._lock = threading.Lock()
        self.continuity = Continuity(from_start=True)
        self.replayed = 0
        """Messages that came with the user property ``replay``."""
        self._file = sqlite3.connect(file, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS message"
            " (epoch TEXT, stream TEXT, seq INTEGER, content TEXT, PRIMARY KEY (epoch, stream, seq))"
        )
        with closing(self._file.execute("SELECT stream, content FROM message ORDER BY rowid")) as stored:
            for stream, content in stored:
                self.continuity.see(stream, json.loads(content))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect, and say what is stored; what was queued during an absence comes by itself."""
        self._listening.clear()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=OPERATOR, protocol=paho.MQTTv5)
        client.tls_set_context(self._context)
        client.reconnect_delay_set(min_delay=1, max_delay=1)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S
        client.connect(HOST, self._port, keepalive=10, clean_start=False, properties=properties)
        self._client = client
        client.loop_start()
        assert self._listening.wait(_TIMEOUT_S), "the broker took no subscription"

    def leave(self) -> None:
        """Be away: the broker goes on to queue, as long as it lives."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def close(self) -> None:
        """Leave, and close the file."""
        self.leave()
        self._file.close()

    def acknowledge(self) -> None:
        """Say per stream how far everything is stored."""
        with self._lock:
            complete = self.continuity.complete()
        for key, seq in complete.items():
            if self._client is not None:
                ack = json.dumps({"epoch": key.epoch, "seq": seq})
                self._client.publish(f"{self._base}/ack/{key.stream}", ack, qos=1, retain=True)

    def stored(self) -> set[tuple[str, str, int]]:
        """Epoch, stream and number of everything that is on disk."""
        with self._lock:
            return set(self._file.execute("SELECT epoch, stream, seq FROM message"))

    def gaps(self) -> dict[StreamKey, list[tuple[int, int]]]:
        """What is missing: neither stored nor declared lost."""
        with self._lock:
            return self.continuity.missing()

    async def ask_for_gaps(self, replay: Ask) -> int:
        """Ask once for everything that is missing; how many ranges that were."""
        asked = 0
        for key, ranges in self.gaps().items():
            for first, last in ranges:
                asked += 1
                held = await replay(Stream(key.stream), key.epoch, first, last)
                if held is None:
                    with self._lock:
                        self.continuity.forgo(key, first, last)
        return asked

    def _on_connect(self, client: paho.Client, *_about: object) -> None:
        client.subscribe(f"{self._base}/#", qos=1)

    def _on_subscribe(self, *_about: object) -> None:
        self._listening.set()
        self.acknowledge()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        stream = message.topic.removeprefix(f"{self._base}/")
        content: dict[str, Any] = json.loads(message.payload) if message.payload else {}
        if stream.startswith("ack/") or "seq" not in content:
            return
        with self._lock:
            self.replayed += ("replay", "1") in getattr(message.properties, "UserProperty", [])
            is_new = self.continuity.see(stream, content)
            if is_new:
                with self._file:
                    self._file.execute(
                        "INSERT INTO message VALUES (?, ?, ?, ?)",
                        (content["epoch"], stream, content["seq"], json.dumps(content)),
                    )
        if is_new:
            self.acknowledge()
