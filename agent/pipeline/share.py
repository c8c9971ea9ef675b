"""Whose turn it is: the present's or the past's. Pure."""

from typing import Final

_BACKLOG_TURNS: Final = 4
"""Of five rows that are sent while both have some, so many are backlog."""


class Share:
    """One of five, of turns, of places in the window and of its bytes, is for live rows.

    Turns alone would not do: a backlog whose acknowledgements do not come would hold all places.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes * _BACKLOG_TURNS // (_BACKLOG_TURNS + 1)
        self._turns = _BACKLOG_TURNS
        self._rows = 0
        self._bytes = 0

    @property
    def is_lives_turn(self) -> bool:
        """Whether a live row goes first, where there is one."""
        return self._turns >= _BACKLOG_TURNS

    def has_room(self, size: int, *, window: int) -> bool:
        """Whether one more row of the backlog, of `size` bytes, may be on its way."""
        if not self._rows:
            return True
        places = window - window // (_BACKLOG_TURNS + 1)
        return self._rows < places and self._bytes + size <= self._most_bytes

    def took(self, *, live: bool) -> None:
        """A row was taken to be sent."""
        self._turns = 0 if live else self._turns + 1

    def sent(self, size: int) -> None:
        """A row of the backlog is on its way."""
        self._rows += 1
        self._bytes += size

    def settled(self, size: int) -> None:
        """One of them has been answered."""
        self._rows -= 1
        self._bytes -= size

    def begin(self) -> None:
        """A new session: nothing is on its way, and the present goes first."""
        self._turns = _BACKLOG_TURNS
        self._rows = self._bytes = 0
