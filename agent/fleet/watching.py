"""What nodes report, and whether they meet what a rollout wants: many of them over one connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.domain.errors import RefusedError
from agent.fleet.client import Client
from agent.fleet.conditions import Wanted
from agent.fleet.connection import Connection, connected
from agent.fleet.gate import Gate, Verdict
from agent.fleet.node_names import NodeName
from agent.fleet.observer import Reader, listen_to, listen_to_streams, nodes_of_site
from agent.fleet.sighting import Sighting
from agent.ports import Inbound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Observed(Generic[T]):
    """What came of listening to nodes. `unread` messages could not be read, `last_unread` for one."""

    nodes: dict[NodeName, T]
    unread: int
    last_unread: str


async def see(
    client: Client,
    wanted: Sequence[NodeName | str],
    *,
    listen_s: float,
    heartbeat: bool = False,
    desired: bool = False,
) -> Observed[Sighting]:
    """What nodes report now, each by its name or all of a site: until it is in, but hardly over `listen_s`.

    With `heartbeat` also until there is one of each node that is online; with `desired` what waits for them
    on `config/desired`, too, as far as the broker lets us read it.

    Raises:
        TransientError: the broker cannot be reached, or the connection has ended.
        RefusedError: the broker does not let us listen.
    """
    async with connected(client) as connection:
        sightings = {node: Sighting() for node in await _named(connection, wanted)}

        def take(node: NodeName, path: str, message: Inbound) -> None:
            if node in sightings:
                sightings[node].take(path, message.payload, message.properties)

        def is_enough() -> bool:
            return all(_is_enough(one, heartbeat=heartbeat) for one in sightings.values())

        reader = Reader(take)
        until_s = time.monotonic() + listen_s
        await listen_to(connection, sightings, reader=reader, is_in=lambda node: sightings[node].is_complete)
        if desired:
            with suppress(RefusedError):
                await listen_to(
                    connection,
                    sightings,
                    reader=reader,
                    is_in=lambda node: sightings[node].desired is not None,
                    paths=("config/desired",),
                )
        await connection.hear(reader, for_s=until_s - time.monotonic(), until=is_enough)
    return Observed(sightings, reader.unread, reader.last_unread)


async def wait_for(
    client: Client,
    wanted: Mapping[NodeName, Wanted],
    *,
    steady_s: float,
    timeout_s: float,
    on_progress: Callable[[int], None],
) -> Observed[Verdict]:
    """Watch nodes until each meets what is `wanted` of it for `steady_s` on end, or `timeout_s` are over.

    `on_progress` hears, several times a second, how many do.

    Raises:
        TransientError: the broker cannot be reached, or the connection has ended.
        RefusedError: the broker does not let us listen.
    """
    began_s = time.monotonic()
    gate = Gate(wanted=wanted, steady_s=steady_s, began_s=began_s)

    def take(node: NodeName, path: str, message: Inbound) -> None:
        gate.take(node, path, message.payload, message.properties, now_s=time.monotonic())

    def is_enough() -> bool:
        met = gate.look(time.monotonic())
        on_progress(met)
        return met == len(gate.sightings)

    reader = Reader(take)
    async with connected(client) as connection:
        await listen_to(
            connection, gate.sightings, reader=reader, is_in=lambda node: gate.sightings[node].is_complete
        )
        if streaming := [node for node, one in wanted.items() if one.streams]:
            await listen_to_streams(connection, streaming)
        await connection.hear(reader, for_s=began_s + timeout_s - time.monotonic(), until=is_enough)
    return Observed(gate.verdicts(time.monotonic()), reader.unread, reader.last_unread)


async def _named(connection: Connection, wanted: Sequence[NodeName | str]) -> list[NodeName]:
    nodes: dict[NodeName, None] = {}
    for one in wanted:
        found = await nodes_of_site(connection, one) if isinstance(one, str) else [one]
        nodes |= dict.fromkeys(found)
    return list(nodes)


def _is_enough(sighting: Sighting, *, heartbeat: bool) -> bool:
    waits_for_heartbeat = heartbeat and sighting.online and sighting.heartbeat is None
    return sighting.is_complete and not waits_for_heartbeat
