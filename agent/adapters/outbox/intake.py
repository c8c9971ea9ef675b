"""The bounded way into the database thread: first come, first served; who finds it full waits."""

import asyncio
from collections import deque
from collections.abc import Callable

from agent.adapters.outbox.commands import Append
from agent.domain.errors import NanofleetError


class Intake:
    """Counts what was passed on and not yet released. Used on the event loop only.

    What waits is passed on when room is made, not when its caller wakes up: so nobody overtakes.
    """

    def __init__(self, *, max_rows: int, max_bytes: int, pass_on: Callable[[Append], None]) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._pass_on = pass_on
        self._rows = 0
        self._bytes = 0
        self._waiting: deque[tuple[Append, asyncio.Future[None]]] = deque()
        self._closed: NanofleetError | None = None

    async def put(self, item: Append) -> None:
        """Pass `item` on, after everything that came before it.

        Raises:
            NanofleetError: `close` was called with it.
        """
        if self._closed is not None:
            raise self._closed
        if not self._waiting and self._fits(item):
            self._take(item)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((item, turn))
        await turn

    def release(self, rows: int, size: int) -> None:
        """So much has left the thread's hands."""
        self._rows -= rows
        self._bytes -= size
        while self._waiting and (self._waiting[0][1].cancelled() or self._fits(self._waiting[0][0])):
            item, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._take(item)
                turn.set_result(None)

    def close(self, error: NanofleetError) -> None:
        """Whoever waits or comes later gets `error`."""
        self._closed = error
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    def _fits(self, item: Append) -> bool:
        """A single item larger than the bound passes alone."""
        fits = self._rows < self._max_rows and self._bytes + item.size <= self._max_bytes
        return fits or self._rows == 0

    def _take(self, item: Append) -> None:
        self._rows += 1
        self._bytes += item.size
        self._pass_on(item)
