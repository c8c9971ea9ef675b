"""How much may wait and for how long, and how old it is: by the monotonic clock wherever that can tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.adapters.outbox.schema import STRICT
from agent.domain.ids import Stream
from agent.domain.stamp import Stamp, age_ns
from agent.ports import Clock, Priority, Row

NEVER_TOO_OLD: Final[frozenset[Priority]] = frozenset({"loss"})
"""A declaration that ages would have to be declared itself."""


_PRIORITIES: Final[Mapping[str, Priority]] = {
    "loss": "loss",
    "events": "event",
    "result": "result",
    "snapshots": "snapshot",
    "telemetry": "telemetry",
    "detections": "detection",
}
"""By the first level of the stream."""


def priority_of(stream: Stream) -> Priority:
    """Of a stream's messages; the lowest for one that this version does not know.

    >>> priority_of(Stream("snapshots/door")), priority_of(Stream("loss"))
    ('snapshot', 'loss')
    """
    return _PRIORITIES.get(stream.split("/", 1)[0], "detection")


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one priority."""

    max_bytes: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_bytes` of waiting rows; `max_age_s` of each of them, beside the expiry of its own.

    Strict rows have `reserve_bytes` to themselves: the others together never fill more than the rest.
    `limits` hold for single priorities, within both.
    """

    max_bytes: int
    max_age_s: float
    reserve_bytes: int = 0
    limits: Mapping[Priority, Limit] = field(default_factory=dict)

    @property
    def bulk_bytes(self) -> int:
        """Most bytes of rows that are not strict."""
        return self.max_bytes - self.reserve_bytes

    def most_bytes(self, priority: Priority) -> int:
        """Most bytes of rows of `priority`, and so of a single one."""
        whole = self.max_bytes if priority in STRICT else self.bulk_bytes
        limit = self.limits.get(priority)
        return whole if limit is None else min(whole, limit.max_bytes)

    def lifetime_s(self, priority: Priority, expiry_s: int | None) -> float:
        """Seconds from making until nobody wants the message any more."""
        own = float("inf") if expiry_s is None else float(expiry_s)
        if priority in NEVER_TOO_OLD:
            return own
        limit = self.limits.get(priority)
        return min(own, self.max_age_s, float("inf") if limit is None else limit.max_age_s)

    def expired(self, row: Row, age_ns: int) -> bool:
        return age_ns > self.lifetime_s(row.priority, row.expiry_s) * 1e9


@dataclass(frozen=True, slots=True)
class Present:
    """Now, as ages are judged from it: one reading of the clock for many rows."""

    at: Stamp
    boot: str
    synced: bool

    @classmethod
    def of(cls, clock: Clock) -> "Present":
        return cls(at=clock.now(), boot=clock.boot, synced=clock.synced())

    def age_ns(self, row: Row) -> int:
        """How long ago the message was made, at least."""
        return age_ns(
            row.made, self.at, same_boot=row.boot == self.boot, walls_right=row.synced and self.synced
        )
