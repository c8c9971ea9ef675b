"""What `get` and `wait-for` answer, as JSON, and `get`'s answer read again as what was before an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agent.domain.errors import Code, RefusedError
from agent.fleet.conditions import Before, Finding
from agent.fleet.gate import Verdict
from agent.fleet.node_names import NodeName
from agent.fleet.sighting import Sighting
from agent.fleet.told import Told, ToldHealth, ToldState


def seen_as_json(sightings: Mapping[NodeName, Sighting]) -> dict[str, Any]:
    """Per node what came, as it came; null for what did not."""
    return {"nodes": {str(node): _as_came(one) for node, one in sightings.items()}}


def verdicts_as_json(verdicts: Mapping[NodeName, Verdict]) -> dict[str, Any]:
    """Whether all nodes met everything, and each node's conditions, whatever the others did."""
    return {
        "met": all(verdict.met for verdict in verdicts.values()),
        "nodes": {
            str(node): {
                "met": verdict.met,
                "after_s": verdict.after_s,
                "conditions": {
                    name: _finding_as_json(finding) for name, finding in verdict.conditions.items()
                },
            }
            for node, verdict in verdicts.items()
        },
    }


def read_before(text: bytes) -> dict[str, Before]:
    """What `get --json` told before an update, by `SITE/NODE`.

    Raises:
        RefusedError: it is not what `get --json` prints.
    """
    try:
        told = _Seen.model_validate_json(text)
    except ValidationError as error:
        raise RefusedError(
            "it is not what `nanofleet fleet get --json` prints: " + " ".join(str(error).split())[:200],
            code=Code.JSON,
        ) from error
    return {name: _before(node) for name, node in told.nodes.items()}


class _Node(Told):
    state: ToldState | None = None
    health: ToldHealth | None = None


class _Seen(Told):
    nodes: dict[str, _Node]


def _before(node: _Node) -> Before:
    well = None
    if node.health is not None:
        well = frozenset(name for name, source in node.health.sources.items() if source.status == "ok")
    return Before(-1 if node.state is None else node.state.session, well)


def _as_came(sighting: Sighting) -> dict[str, Any]:
    raw = sighting.raw
    return {
        "state": raw.get("state"),
        "info": raw.get("info"),
        "health": raw.get("health"),
        "config": raw.get("config/reported"),
        "heartbeat": raw.get("heartbeat"),
        "alarms": {name: raw[f"alarms/{name}"] for name in sighting.alarms},
    }


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    told = {"met": finding.met, "seen": finding.seen, "wanted": finding.wanted}
    return told | ({"remark": finding.remark} if finding.remark else {})
