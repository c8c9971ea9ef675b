"""How commands go from the event loop to the database thread: those in quick succession together."""

import asyncio
from queue import SimpleQueue
from typing import Final

from agent.adapters.outbox.commands import Acknowledge, Append, Command

Commands = list[Command]

SPACING_S: Final = 0.005
"""Between two hand-overs of what nobody waits for. Each wakes the thread, which costs the loop some 50 µs in
a virtual machine, and then wants the interpreter that the loop is working with."""


class Passage:
    """In order, and without a bound: what comes often is bounded by who sends it.

    After a pause a command is handed over at once; a question takes along everything before it.
    `put` is called on the loop only; the thread takes from `queue`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: Final[SimpleQueue[Commands]] = SimpleQueue()
        self._loop = loop
        self._together: Commands = []
        self._handed_over_at = float("-inf")
        self._due: asyncio.TimerHandle | None = None

    def put(self, command: Command) -> None:
        """Never waits."""
        self._together.append(command)
        now = self._loop.time()
        if not isinstance(command, Append | Acknowledge) or now - self._handed_over_at >= SPACING_S:
            self._hand_over(now)
        elif self._due is None:
            self._due = self._loop.call_at(self._handed_over_at + SPACING_S, self._on_due)

    def _on_due(self) -> None:
        self._due = None
        if self._together:
            self._hand_over(self._loop.time())

    def _hand_over(self, now: float) -> None:
        together, self._together = self._together, []
        self._handed_over_at = now
        self.queue.put(together)
