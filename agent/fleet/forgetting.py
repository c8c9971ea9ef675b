"""Clearing what nodes that are gone have left at the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from agent.fleet.client import Client
from agent.fleet.connection import Connection, connected
from agent.fleet.node_names import NodeName
from agent.fleet.observer import Reader
from agent.fleet.sighting import Sighting
from agent.ports import Inbound, Publication

_BATCH: Final = 20
"""Nodes at once, each with some dozens of retained topics: see `observer`."""
_LOOKS: Final = 3
"""Rounds of clearing; a broker that holds more for a node than it sends at once needs a second."""
_LISTEN_S: Final = 10.0
_FAILURE: Final = 0x80


@dataclass(slots=True)
class Remains:
    """What one node has left. Paths are below its topic."""

    online: bool = False
    cleared: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    refusal: str = ""
    """Why nothing, or not all, was cleared."""


async def forget(client: Client, nodes: Sequence[NodeName], *, force: bool) -> dict[NodeName, Remains]:
    """Clear all retained topics of `nodes`, and look again whether anything is left.

    A node that is online is left alone unless it is to be done by `force`: it would say most of it again.

    Raises:
        TransientError: the broker cannot be reached, or the connection has ended; what was cleared stays so.
        RefusedError: the broker does not let us listen.
    """
    remains: dict[NodeName, Remains] = {}
    left = iter(nodes)
    async with connected(client) as connection:
        while batch := list(islice(left, _BATCH)):
            remains |= await _forget(connection, batch, force=force)
    return remains


def as_json(remains: Mapping[NodeName, Remains]) -> dict[str, Any]:
    """Whether nothing is left of any of them, and what was cleared of each."""
    return {
        "forgotten": not any(one.refusal for one in remains.values()),
        "nodes": {
            str(node): {
                "forgotten": not one.refusal,
                "online": one.online,
                "cleared": one.cleared,
                "left": one.left,
                "message": one.refusal,
            }
            for node, one in remains.items()
        },
    }


async def _forget(
    connection: Connection, nodes: Sequence[NodeName], *, force: bool
) -> dict[NodeName, Remains]:
    remains = {node: Remains() for node in nodes}
    reasons: dict[NodeName, int] = {}
    for _ in range(_LOOKS):
        found = await _retained(connection, remains)
        todo = []
        for node, sighting in found.items():
            one = remains[node]
            one.online |= sighting.state.online
            one.left = sorted(sighting.paths)
            if one.left and (force or not one.online):
                # The state last: whoever is interrupted finds the node still there.
                todo += [(node, path) for path in sorted(one.left, key=lambda path: (path == "state", path))]
        if not todo:
            break
        publications = [Publication(node.topics.below(path), b"", retain=True) for node, path in todo]
        answers = await connection.publish(publications, take=lambda _message: None)
        for (node, path), reason in zip(todo, answers, strict=True):
            if reason >= _FAILURE:
                reasons[node] = reason
            elif path not in remains[node].cleared:
                remains[node].cleared.append(path)
    else:
        for node, sighting in (await _retained(connection, remains)).items():
            remains[node].left = sorted(sighting.paths)
    for node, one in remains.items():
        one.cleared = [path for path in one.cleared if path not in one.left]
        one.refusal = _refusal(one, reasons.get(node), force=force)
    return remains


@dataclass(slots=True)
class _Found:
    state: Sighting = field(default_factory=Sighting)
    paths: set[str] = field(default_factory=set)


async def _retained(connection: Connection, nodes: Iterable[NodeName]) -> dict[NodeName, _Found]:
    """Every retained topic below those of `nodes`."""
    found = {node: _Found() for node in nodes}

    def take(node: NodeName, path: str, message: Inbound) -> None:
        if message.retained and message.payload and node in found:
            found[node].paths.add(path)
            if path == "state":
                found[node].state.take(path, message.payload, message.properties)

    reader = Reader(take)
    reader.listen_anew()
    await connection.subscribe([node.topics.below("#") for node in found])
    await connection.hear(reader, for_s=_LISTEN_S, until=lambda: reader.is_quiet)
    return found


def _refusal(one: Remains, reason: int | None, *, force: bool) -> str:
    if not one.left:
        return ""
    if one.online and not force:
        return "it is online; stop it first, or clear it all the same with --force"
    if reason is not None:
        return f"the broker refused to clear all of it (0x{reason:02X}); may this client write there?"
    if one.online:
        return "it is online, and says again what was cleared"
    return "it came again; who publishes there?"
