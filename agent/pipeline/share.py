"""Whose turn it is: the present's or the past's. Pure."""

from typing import Final

_GREATER: Final = 4
"""Of five rows that are sent while both have some; the other one is the other's."""


class Share:
    """One of five, of turns, of places in the window and of its bytes, is for live rows.

    Turns alone would not do: a backlog whose acknowledgements do not come would hold all places. While live
    rows have to wait, their fifth is less than what is made, and it is the other way round.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self.hurried = False
        """Whether live rows have to wait: they get the greater share."""
        self._most_bytes = most_bytes
        self._live_run = 0
        self._backlog_run = _GREATER
        self._rows = 0
        self._bytes = 0

    @property
    def is_lives_turn(self) -> bool:
        """Whether a live row goes first, where there is one."""
        return self._live_run < _GREATER if self.hurried else self._backlog_run >= _GREATER

    def has_room(self, size: int, *, window: int) -> bool:
        """Whether one more row that is not live, of `size` bytes, may be on its way."""
        if not self._rows:
            return True
        places, most_bytes = window // (_GREATER + 1), self._most_bytes // (_GREATER + 1)
        if not self.hurried:
            places, most_bytes = window - places, self._most_bytes - most_bytes
        return self._rows < places and self._bytes + size <= most_bytes

    def took(self, *, live: bool) -> None:
        """A row was taken to be sent."""
        self._live_run = self._live_run + 1 if live else 0
        self._backlog_run = 0 if live else self._backlog_run + 1

    def sent(self, size: int) -> None:
        """A row that is not live is on its way."""
        self._rows += 1
        self._bytes += size

    def settled(self, size: int) -> None:
        """One of them has been answered."""
        self._rows -= 1
        self._bytes -= size

    def begin(self) -> None:
        """A new session: nothing is on its way, and the present goes first."""
        self.hurried = False
        self._live_run, self._backlog_run = 0, _GREATER
        self._rows = self._bytes = 0
