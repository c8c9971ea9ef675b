"""A proxy between agent and broker that records MQTT packets and makes trouble on demand."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from typing import Final, Self

from tests import mqtt_packets as mqtt
from tests.brokers import HOST, Identity

_CHUNK: Final = 65_536
_MOST_LATE: Final = 10_000
_SLICE_S: Final = 0.1


class Recorded:
    """What went through one connection: what the agent published, and what of it was acknowledged to it.

    Packets count when they reach the proxy; `most_unacknowledged` is how many publications at QoS 1 were
    on their way at once.
    """

    def __init__(self) -> None:
        self.packets: Counter[int] = Counter()
        """From the agent, by kind."""
        self.published: list[mqtt.Publish] = []
        self.answered: list[tuple[mqtt.Publish, int]] = []
        """Publications at QoS 1 with the reason code of their PUBACK."""
        self.most_unacknowledged = 0
        self.bytes_up = 0
        self.certificate: str | None = None
        """The serial number of the one that the agent showed."""
        self._unacknowledged: dict[int, mqtt.Publish] = {}

    @property
    def acknowledged(self) -> list[mqtt.Publish]:
        """Those whose PUBACK told success."""
        return [sent for sent, reason in self.answered if reason < 0x80]

    def note_up(self, packets: list[mqtt.Packet]) -> None:
        """From the agent."""
        for packet in packets:
            self.packets[packet.kind] += 1
            if packet.kind == mqtt.PUBLISH:
                self.published.append(sent := mqtt.read_publish(packet))
                if sent.qos:
                    assert sent.mid not in self._unacknowledged, f"packet identifier {sent.mid} is in use"
                    self._unacknowledged[sent.mid] = sent
        self.most_unacknowledged = max(self.most_unacknowledged, len(self._unacknowledged))

    def note_down(self, packets: list[mqtt.Packet]) -> None:
        """From the broker."""
        for packet in packets:
            if packet.kind == mqtt.PUBACK:
                puback = mqtt.read_puback(packet)
                self.answered.append((self._unacknowledged.pop(puback.mid), puback.reason))


class RecordingProxy:
    """Listens on a free loopback port and passes everything on to the broker at `broker_port`.

    Without identities it carries bytes and reads plain MQTT; with them it ends TLS on both sides: `server`
    is shown to the agent (who has to show a certificate of the same authority), `client` to the broker.
    `hold` lets nothing through, as a dead line does; `cut` ends all connections, `reset` with RST;
    `cut_after_publishes` resets in the middle of what follows so many; what the broker says comes
    `delay_down_s` late; what the agent says gets through at no more than `up_bytes_s`; `edit_down` puts other
    bytes in the place of a packet from the broker; with `refuse` nobody gets in.
    """

    def __init__(
        self, broker_port: int, *, server: Identity | None = None, client: Identity | None = None
    ) -> None:
        self.port = 0
        self.connections: list[Recorded] = []
        self.delay_down_s = 0.0
        self.up_bytes_s: float | None = None
        self.edit_down: Callable[[mqtt.Packet], bytes] | None = None
        self.refuse = False
        self.cut_after_publishes: int | None = None
        self._broker_port = broker_port
        self._from_agent = _server_context(server) if server else None
        self._to_broker = _client_context(client) if client else None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def published(self) -> list[mqtt.Publish]:
        return [sent for connection in self.connections for sent in connection.published]

    @property
    def acknowledged(self) -> list[mqtt.Publish]:
        return [sent for connection in self.connections for sent in connection.acknowledged]

    @property
    def most_unacknowledged(self) -> int:
        """The most publications at QoS 1 that were ever on their way at once."""
        return max((connection.most_unacknowledged for connection in self.connections), default=0)

    def show(self, server: Identity) -> None:
        """Whom new connections see from now on."""
        assert self._from_agent is not None
        self._from_agent.load_cert_chain(server.certificate, server.key)

    def hold(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """End all connections in order (FIN)."""
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        """End all connections with RST."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, HOST, self.port, ssl=self._from_agent)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._listener is not None:
            self._listener.close()
        self._flowing.set()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.refuse:
                return
            record = Recorded()
            record.certificate = (writer.get_extra_info("peercert") or {}).get("serialNumber")
            self.connections.append(record)
            broker_reader, upstream = await asyncio.open_connection(
                HOST,
                self._broker_port,
                ssl=self._to_broker,
                server_hostname=HOST if self._to_broker else None,
            )
            self._writers.add(upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry_up(reader, upstream, record))
                group.create_task(self._carry_down(broker_reader, writer, record))
        except* OSError:
            pass  # the broker is away, or a connection was cut
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._writers.discard(each)
                    each.close()
            self._tasks.discard(task)

    async def _carry_up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: Recorded
    ) -> None:
        parser = mqtt.PacketReader()
        while data := await reader.read(_CHUNK):
            record.bytes_up += len(data)
            await self._flowing.wait()
            record.note_up(parser.feed(data))
            limit = self.cut_after_publishes
            if limit is not None and len(record.published) > limit:
                self.cut_after_publishes = None
                writer.write(data[: len(data) // 2])
                await writer.drain()
                self.reset()
                return
            await self._write_up(data, writer)
        writer.close()

    async def _write_up(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data:
            rate = self.up_bytes_s
            size = len(data) if rate is None else max(1, int(rate * _SLICE_S))
            writer.write(data[:size])
            await writer.drain()
            if rate is not None:
                await asyncio.sleep(len(data[:size]) / rate)
            data = data[size:]

    async def _carry_down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: Recorded
    ) -> None:
        parser = mqtt.PacketReader()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_LATE)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send_late(late, writer, parser, record))
            while data := await reader.read(_CHUNK):
                await late.put((asyncio.get_running_loop().time() + self.delay_down_s, data))
            await late.join()
            sending.cancel()
        writer.close()

    async def _send_late(
        self,
        late: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        parser: mqtt.PacketReader,
        record: Recorded,
    ) -> None:
        while True:
            due, data = await late.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._flowing.wait()
            packets = parser.feed(data)
            record.note_down(packets)
            edit = self.edit_down
            writer.write(data if edit is None else b"".join(edit(packet) for packet in packets))
            await writer.drain()
            late.task_done()


def _server_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=identity.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(identity.certificate, identity.key)
    return context


def _client_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=identity.ca)
    context.load_cert_chain(identity.certificate, identity.key)
    return context
