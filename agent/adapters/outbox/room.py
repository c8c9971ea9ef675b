"""How much may wait at the moment: what Settings allow, or what a full disk has room for."""

from typing import Final

from agent.domain.stamp import Stamp

_CRAMPED_NS: Final = 60_000_000_000
"""So long after the disk was last found full, it is tried again whether there is more room."""
_SLACK_BYTES: Final = 256 << 10


class Room:
    """`limit_bytes` is what waiting rows may take now. Used by the database thread only."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.limit_bytes = max_bytes
        self._until_ns: int | None = None

    @property
    def cramped(self) -> bool:
        """Whether the disk was found full not long ago."""
        return self._until_ns is not None

    def shrink(self, *, waiting: int, incoming: int, now: Stamp) -> int:
        """The disk is full with `waiting` bytes in it: to how many rows have to shrink for `incoming` to fit.

        A little is kept free beyond that, because a row comes in before another one goes.
        """
        slack = min(_SLACK_BYTES, waiting // 8)
        target = max(0, waiting - 2 * incoming - slack)
        self.limit_bytes = min(self.max_bytes, target + incoming)
        self._until_ns = now.monotonic_ns + _CRAMPED_NS
        return target

    def relax(self, now: Stamp) -> None:
        """Go back to what Settings allow, once enough time has passed."""
        if self._until_ns is not None and now.monotonic_ns >= self._until_ns:
            self.limit_bytes, self._until_ns = self.max_bytes, None
