"""What one node has said so far: the newest of each kind, and what is counted since it was born."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.fleet.told import (
    Raw,
    ToldAlarm,
    ToldConfig,
    ToldHealth,
    ToldHeartbeat,
    ToldInfo,
    ToldLog,
    ToldLoss,
    ToldMoment,
    ToldState,
)

RETAINED: Final = ("state", "info", "health", "config/reported")
"""What every node that was ever there has left at the broker, below its own topic."""

STREAMS: Final = ("detections/+", "telemetry/+", "loss", "log")
"""What only comes while somebody listens."""

_SPOKEN: Final = frozenset({"detections", "telemetry"})
_ERRORS: Final = frozenset({"error", "critical"})


@dataclass(slots=True)
class Sighting:
    """One node, as its messages show it. No I/O: whoever has a message hands it in.

    A session begins with `state: online`. What is counted and heard counts for the session only, and only
    what was made in it: `time` tells, compared with that of the node's own birth, so that nobody else's clock
    matters.
    """

    raw: dict[str, Raw] = field(default_factory=dict)
    """The newest payload of each kind as it came, by its path below the node's topic."""
    state: ToldState | None = None
    info: ToldInfo | None = None
    health: ToldHealth | None = None
    config: ToldConfig | None = None
    heartbeat: ToldHeartbeat | None = None
    """Of the session that goes on."""
    desired: bytes | None = None
    """What others want of it: the document on `config/desired`."""
    alarms: dict[str, ToldAlarm] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    """Messages of each source that were made in this session."""
    lost: int = 0
    errors: int = 0

    @property
    def is_known(self) -> bool:
        return bool(self.raw)

    @property
    def is_complete(self) -> bool:
        """Whether all is here that a node leaves at the broker."""
        return all(path in self.raw for path in RETAINED)

    @property
    def online(self) -> bool:
        return self.state is not None and self.state.state == "online"

    @property
    def session(self) -> int:
        """The number of the last session known; -1: none is."""
        return -1 if self.state is None else self.state.session

    def take(self, path: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Take note of a message on `path` below the node's topic.

        Raises:
            ValueError: it cannot be read, and is as if it had not come.
        """
        kind, _, name = path.partition("/")
        if kind in _SPOKEN:
            if self._is_fresh(ToldMoment.model_validate_json(payload), properties):
                self.heard[name] = self.heard.get(name, 0) + 1
        elif path == "loss":
            loss = ToldLoss.model_validate_json(payload)
            self.lost += loss.count if self._is_fresh(loss, properties) else 0
        elif path == "log":
            entry = ToldLog.model_validate_json(payload)
            self.errors += entry.level in _ERRORS and self._is_fresh(entry, properties)
        elif path == "config/desired":
            self.desired = payload or None
        elif not payload:
            self._forget(path, name if kind == "alarms" else None)
        elif kind == "alarms":
            self.alarms[name] = ToldAlarm.model_validate_json(payload)
            self.raw[path] = _raw(payload)
        else:
            self._replace(path, payload)

    def _replace(self, path: str, payload: bytes) -> None:
        match path:
            case "state":
                state = ToldState.model_validate_json(payload)
                if state.state == "offline" and self.online and state.session < self.session:
                    return  # the will of a session that another has followed
                self._enter(state)
            case "info":
                self.info = ToldInfo.model_validate_json(payload)
            case "health":
                self.health = ToldHealth.model_validate_json(payload)
            case "config/reported":
                self.config = ToldConfig.model_validate_json(payload)
            case "heartbeat":
                self.heartbeat = ToldHeartbeat.model_validate_json(payload)
            case _:
                return
        self.raw[path] = _raw(payload)

    def _enter(self, state: ToldState) -> None:
        if state.session != self.session:
            self.heard.clear()
            self.lost = self.errors = 0
            if self.heartbeat is not None and self.heartbeat.session != state.session:
                self.heartbeat = None
                del self.raw["heartbeat"]
        self.state = state

    def _forget(self, path: str, alarm: str | None) -> None:
        self.raw.pop(path, None)
        if alarm is not None:
            self.alarms.pop(alarm, None)
        elif path in {"state", "info", "health"}:
            setattr(self, path, None)
        elif path == "config/reported":
            self.config = None

    def _is_fresh(self, told: ToldMoment, properties: Mapping[str, str]) -> bool:
        """Made in this session, and told for the first time."""
        return (
            self.state is not None
            and self.online
            and told.time >= self.state.time
            and properties.get("replay") != "1"
        )


def _raw(payload: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(payload)
    return content
