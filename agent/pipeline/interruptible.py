"""Waits that somebody else can end, though they belong to one task."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Interruptible:
    """Sections of one task that `interrupt` ends: the one that runs now, and each that begins later."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        """End the section; what it awaits is cancelled, and the task goes on behind it."""
        self._interrupted = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def section(self) -> AsyncIterator[None]:
        """`async with` this around what may be interrupted. One at a time."""
        try:
            async with asyncio.timeout(0.0 if self._interrupted else None) as self._timeout:
                yield
        except TimeoutError:
            if not self._interrupted:
                raise
        finally:
            self._timeout = None
