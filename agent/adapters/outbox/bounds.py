"""How long a message may wait, and how old it is: by the monotonic clock wherever that can tell."""

from dataclasses import dataclass
from typing import Final

from agent.domain.stamp import Stamp
from agent.ports import Clock, Priority, Row

NEVER_TOO_OLD: Final[frozenset[Priority]] = frozenset({"loss"})
"""A declaration that ages would have to be declared itself."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_bytes` of waiting rows; `max_age_s` of each of them, beside the expiry of its own."""

    max_bytes: int
    max_age_s: float

    def lifetime_s(self, priority: Priority, expiry_s: int | None) -> float:
        """Seconds from making until nobody wants the message any more."""
        own = float("inf") if expiry_s is None else float(expiry_s)
        return own if priority in NEVER_TOO_OLD else min(own, self.max_age_s)

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

    def age_ns(self, made: Stamp, *, boot: str, synced: bool) -> int:
        """How long ago `made` was, at least; never negative.

        Within one boot the monotonic clock tells, whatever the wall clock does. Of another boot's message
        the wall clock tells only if it was right then and is right now (`synced`); if not, all that is
        certain is that it is older than this boot, so that a wrong clock keeps a message too long rather
        than drops it.
        """
        if boot == self.boot:
            return max(0, self.at.monotonic_ns - made.monotonic_ns)
        by_wall_ns = self.at.wall_ns - made.wall_ns if synced and self.synced else 0
        return max(by_wall_ns, self.at.monotonic_ns)
