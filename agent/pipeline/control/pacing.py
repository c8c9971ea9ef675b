"""How often a node looks at policies that others send it. Pure but for its count."""

from typing import Final

from agent.pipeline.token_bucket import TokenBucket
from agent.ports import Clock

_PER_S: Final = 1.0
_BURST: Final = 120.0
_COST: Final = 1.0
_COST_IN_VAIN: Final = 6.0
"""To read 64 KiB of hostile JSON takes up to a third of a second, and to remember that it was refused a
synced write: every six seconds that is a twentieth of a core, and some 100 MB a day."""


class Pace:
    """Lets somebody who tries things go on for a while, and whoever floods the node have little of it.

    What changes something costs little, so that a slider may be moved; what came in vain costs more.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._bucket = TokenBucket(per_s=_PER_S, burst=_BURST)

    @property
    def has_room(self) -> bool:
        """Whether one may be looked at now."""
        self._bucket.fill(self._clock.now().monotonic_ns)
        return self._bucket.has_one

    def pay(self, *, in_vain: bool) -> None:
        """One was looked at. More than is there is owed."""
        self._bucket.tokens -= _COST_IN_VAIN if in_vain else _COST
