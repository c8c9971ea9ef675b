"""Another client that uses this node's name: told as long as it may still be there."""

from typing import Final

from agent.domain.errors import Code
from agent.ports import Clock, Condition

_REMEMBERED_S: Final = 600.0
"""Longer than any wait after a take-over: two that take turns are told of in every session."""

_WHAT_TO_DO: Final = (
    "another client takes this node's sessions with the same name: look for a second agent with this node's "
    "certificate (a cloned card, an old board, a copied state_dir) and give it a name of its own"
)


class Rivalry:
    """Remembers a take-over beyond the connection that it ended, so that the next session tells of it."""

    def __init__(self, *, clock: Clock, on_condition: Condition) -> None:
        self._clock = clock
        self._on_condition = on_condition
        self._last_ns: int | None = None

    def note(self) -> None:
        """The broker gave our session to another, or shows what another said in our name."""
        self._last_ns = self._clock.now().monotonic_ns
        self._on_condition("name", "degraded", Code.REFUSED, _WHAT_TO_DO)

    def look(self) -> None:
        """Now and then: whether it has been quiet for long enough."""
        if self._last_ns is None:
            return
        if (self._clock.now().monotonic_ns - self._last_ns) / 1e9 >= _REMEMBERED_S:
            self._last_ns = None
            self._on_condition("name", "ok", None, None)
