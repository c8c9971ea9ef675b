"""How much may wait at the moment: what Settings allow, or what a full disk has room for."""

import os
from pathlib import Path
from typing import Final

from agent.domain.stamp import Stamp

RESERVE_BYTES: Final = 6 << 20
"""More than the write-ahead log usually holds: without room to move the log into the file, a full disk would
refuse even what takes rows out of it."""

_CRAMPED_NS: Final = 10_000_000_000
"""So long after the disk was last found full, it is tried again whether there is more room."""
_SLACK_BYTES: Final = 256 << 10


class Room:
    """`limit_bytes` is what waiting rows may take now. Used by the database thread only.

    A file of `RESERVE_BYTES` beside the outbox keeps room that is given up when the disk is full.
    """

    def __init__(self, *, max_bytes: int, reserve: Path) -> None:
        self.limit_bytes = max_bytes
        self._max_bytes = max_bytes
        self._reserve = reserve
        self._until_ns: int | None = None
        self._hold_reserve()

    @property
    def cramped(self) -> bool:
        """Whether the disk was found full not long ago."""
        return self._until_ns is not None

    def shrink(self, *, waiting: int, incoming: int, now: Stamp) -> int:
        """The disk is full with `waiting` bytes in it: to how many rows have to shrink for `incoming` to fit.

        The first time the reserve is given up, and a part of it may be filled. After that rows have to go; a
        little is then kept free beyond `incoming`, because a row comes in before another one goes.
        """
        self._until_ns = now.monotonic_ns + _CRAMPED_NS
        if self._give_reserve():
            self.limit_bytes = min(self._max_bytes, waiting + incoming + RESERVE_BYTES // 8)
            return waiting
        slack = min(_SLACK_BYTES, waiting // 8)
        target = max(0, waiting - 2 * incoming - slack)
        self.limit_bytes = min(self._max_bytes, target + incoming)
        return target

    def relax(self, now: Stamp) -> None:
        """Go back to what Settings allow, once enough time has passed and the reserve can be had again."""
        if self._until_ns is None or now.monotonic_ns < self._until_ns:
            return
        if self._hold_reserve():
            self.limit_bytes, self._until_ns = self._max_bytes, None
        else:
            self._until_ns = now.monotonic_ns + _CRAMPED_NS

    def _hold_reserve(self) -> bool:
        try:
            descriptor = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            self._give_reserve()
            return False
        finally:
            os.close(descriptor)
        return True

    def _give_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True
