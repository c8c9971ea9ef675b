"""The gate of a rollout: which nodes fulfil what is wanted, and for how long on end. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.fleet.conditions import Finding, Wanted, judge
from agent.fleet.node_names import NodeName
from agent.fleet.sighting import Sighting


@dataclass(frozen=True, slots=True)
class Verdict:
    """One node. `after_s` is when it had met everything for long enough, from the beginning of the watch."""

    met: bool
    after_s: float | None
    conditions: dict[str, Finding]


@dataclass(slots=True)
class _Hold:
    """Since when all conditions hold, in which session, and when that was long enough."""

    since_s: float | None = None
    session: int = -1
    met_s: float | None = None

    def note(self, *, holds: bool, session: int, now_s: float, steady_s: float) -> None:
        if not holds or session != self.session:
            # A new session between two looks is a crash that healed itself: the count begins again.
            self.since_s, self.met_s = None, None
        self.session = session
        if holds:
            self.since_s = now_s if self.since_s is None else self.since_s
            if self.met_s is None and now_s - self.since_s >= steady_s:
                self.met_s = now_s


@dataclass(slots=True, kw_only=True)
class Gate:
    """Watches nodes until each meets what is `wanted` of it for `steady_s` on end.

    Times are monotonic seconds. Who met everything and then does not any more has not met it: what counts
    is the end.
    """

    wanted: Mapping[NodeName, Wanted]
    steady_s: float = 0.0
    began_s: float
    sightings: dict[NodeName, Sighting] = field(init=False)
    _holds: dict[NodeName, _Hold] = field(init=False)
    _findings: dict[NodeName, dict[str, Finding]] = field(init=False, default_factory=dict)
    _stale: set[NodeName] = field(init=False)

    def __post_init__(self) -> None:
        self.sightings = {node: Sighting() for node in self.wanted}
        self._holds = {node: _Hold() for node in self.sightings}
        self._stale = set(self.sightings)

    def take(
        self, node: NodeName, path: str, payload: bytes, properties: Mapping[str, str], *, now_s: float
    ) -> None:
        """Take note of a message on `path` below `node`'s topic; of others' nodes none is taken.

        Raises:
            ValueError: it cannot be read, and is as if it had not come.
        """
        sighting = self.sightings.get(node)
        if sighting is None:
            return
        before = sighting.state
        sighting.take(path, payload, properties)
        self._stale.add(node)
        if sighting.state is not before:
            self._judge(node, now_s)

    def look(self, now_s: float) -> int:
        """How many nodes have met everything at this moment."""
        for node in self._holds:
            self._judge(node, now_s)
        return sum(hold.met_s is not None for hold in self._holds.values())

    def verdicts(self, now_s: float) -> dict[NodeName, Verdict]:
        """Every node as it is now."""
        self.look(now_s)
        return {node: self._verdict(node, now_s) for node in self.sightings}

    def _judge(self, node: NodeName, now_s: float) -> None:
        sighting = self.sightings[node]
        if node in self._stale:
            self._findings[node] = judge(sighting, self.wanted[node], node=str(node))
            self._stale.discard(node)
        self._holds[node].note(
            holds=all(finding.met for finding in self._findings[node].values()),
            session=sighting.session,
            now_s=now_s,
            steady_s=self.steady_s,
        )

    def _verdict(self, node: NodeName, now_s: float) -> Verdict:
        hold, conditions = self._holds[node], dict(self._findings[node])
        if self.steady_s:
            held_s = 0.0 if hold.since_s is None else min(now_s - hold.since_s, self.steady_s)
            conditions["steady"] = Finding(
                hold.met_s is not None, round(held_s, 1), f"{self.steady_s:g} s on end"
            )
        after_s = None if hold.met_s is None else round(hold.met_s - self.began_s, 1)
        return Verdict(met=hold.met_s is not None, after_s=after_s, conditions=conditions)
