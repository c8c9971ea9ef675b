"""Listening to many nodes at once: in batches, so that no broker has to hold too much for us."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from agent.contract.topics import CONTRACT_VERSION
from agent.domain.ids import is_name
from agent.fleet.connection import Connection
from agent.fleet.node_names import NodeName, place_of
from agent.fleet.sighting import RETAINED, STREAMS
from agent.ports import Inbound

_BATCH: Final = 25
"""Nodes whose retained messages are asked for at once. mosquitto keeps 1,000 messages for a client and drops
what is more (`max_queued_messages`), the retained ones among them."""

_QUIET_S: Final = 0.3
"""Longest pause between retained messages, which a broker sends one after the other."""
_SITE_S: Final = 2.0


class TakesMessages(Protocol):
    """What becomes of a message. Raises: ValueError, if it cannot be read."""

    def __call__(self, node: NodeName, path: str, message: Inbound) -> None: ...


@dataclass(slots=True)
class Reader:
    """Hands messages on by node and path, and counts those that nobody could read."""

    take: TakesMessages
    unread: int = 0
    last_unread: str = ""
    """What could not be read, and why."""
    retained_s: float = 0.0
    """When the last retained message came."""

    @property
    def is_quiet(self) -> bool:
        """Nothing retained has come for longer than a broker pauses between two such messages."""
        return time.monotonic() - self.retained_s > _QUIET_S

    def listen_anew(self) -> None:
        """Something retained may come from now on."""
        self.retained_s = time.monotonic()

    def __call__(self, message: Inbound) -> None:
        if message.retained:
            self.retained_s = time.monotonic()
        place = place_of(message.topic)
        if place is None:
            return
        try:
            self.take(*place, message)
        except ValueError as error:
            self.unread += 1
            self.last_unread = f"{message.topic}: {_first_line(error)}"


async def nodes_of_site(connection: Connection, site: str) -> list[NodeName]:
    """Every node of `site` that has left its state at the broker.

    Raises:
        TransientError: the connection has ended.
        RefusedError: the broker does not let us listen.
    """
    found: set[NodeName] = set()

    def take(node: NodeName, path: str, message: Inbound) -> None:
        if path == "state" and node.site == site and is_name(node.node) and message.payload:
            found.add(node)

    reader = Reader(take)
    reader.listen_anew()
    await connection.subscribe([f"edge/v{CONTRACT_VERSION}/{site}/+/state"])
    await connection.hear(reader, for_s=_SITE_S, until=lambda: reader.is_quiet)
    return sorted(found)


async def listen_to(
    connection: Connection,
    nodes: Iterable[NodeName],
    *,
    reader: Reader,
    is_in: Callable[[NodeName], bool],
    paths: Sequence[str] = ("alarms/+", "heartbeat", *RETAINED),
) -> None:
    """Subscribe to what `nodes` leave at the broker, and return when it is in, or nothing more comes.

    Raises:
        TransientError: the connection has ended.
        RefusedError: the broker does not let us listen.
    """
    for batch in _batches(nodes):
        reader.listen_anew()
        await connection.subscribe([node.topics.below(path) for node in batch for path in paths])

        def arrived(batch: Sequence[NodeName] = batch) -> bool:
            return all(map(is_in, batch)) or reader.is_quiet

        await connection.hear(reader, for_s=_SITE_S, until=arrived)


async def listen_to_streams(connection: Connection, nodes: Iterable[NodeName]) -> None:
    """Subscribe to what the nodes tell as it happens, as far as we keep up with it; losses come in any case.

    Raises:
        TransientError: the connection has ended.
        RefusedError: the broker does not let us listen.
    """
    for batch in _batches(nodes):
        for path in STREAMS:
            filters = [node.topics.below(path) for node in batch]
            await connection.subscribe(filters, at_most_once=path != "loss")


def _batches(nodes: Iterable[NodeName]) -> Iterable[list[NodeName]]:
    left = iter(nodes)
    while batch := list(islice(left, _BATCH)):
        yield batch


def _first_line(error: ValueError) -> str:
    return " ".join(str(error).split())[:200]
