"""Which row it is that makes the broker hang up. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_BREAKS: Final = 3
_BREAKS_ALONE: Final = 2
"""Twice, in fairness to coincidence."""

_AT_ONCE_NS: Final = 5_000_000_000
"""A broker that chokes on a message hangs up sooner; after so long it was rather the line that went."""


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A row without an answer when the connection broke, for so long."""

    key: int
    waited_ns: int


class Suspects:
    """Rows that were on their way at each of three connections that broke.

    Each is sent by itself, with nothing else on its way, until it is answered; one with which the connection
    breaks twice is guilty. An answer acquits. So whoever flaps harms nothing that gets through in between.
    """

    def __init__(self) -> None:
        self._keys: frozenset[int] = frozenset()
        self._breaks = 0
        self._alone: Counter[int] = Counter()

    @property
    def any(self) -> bool:
        """Whether there are suspects."""
        return self._breaks >= _BREAKS

    def __contains__(self, key: int) -> bool:
        return self._breaks >= _BREAKS and key in self._keys

    def answered(self, key: int) -> None:
        """The broker has answered this row, whatever it said."""
        if key in self._keys:
            self._keys -= {key}
            del self._alone[key]
            if not self._keys:
                self._clear()

    def broke(self, rows: Sequence[OnItsWay], *, alone: bool) -> int | None:
        """The connection broke with `rows` on their way (`alone`: and nothing else); who is guilty."""
        if alone and len(rows) == 1 and rows[0].key in self:
            return self._judge(rows[0])
        keys = frozenset(row.key for row in rows)
        if self.any or not keys:
            return None
        common = self._keys & keys
        self._keys, self._breaks = (common, self._breaks + 1) if common else (keys, 1)
        return None

    def _judge(self, row: OnItsWay) -> int | None:
        if row.waited_ns > _AT_ONCE_NS:
            return None
        self._alone[row.key] += 1
        if self._alone[row.key] < _BREAKS_ALONE:
            return None
        self._clear()
        return row.key

    def _clear(self) -> None:
        self._keys = frozenset()
        self._breaks = 0
        self._alone.clear()
