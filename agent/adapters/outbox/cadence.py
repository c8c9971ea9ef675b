"""When what was gathered is committed: as seldom as its promises allow, because each commit wears the card.

A commit writes every page that it touches, some 15 KB however small the message; so thirty messages a second,
each committed by itself, and each deleted by itself, wrote seventy times their own bytes.
"""

from dataclasses import dataclass
from typing import Final

from agent.adapters.outbox.work import Work

STRICT_WITHIN_S: Final = 0.1
"""Losses, events, results and refusals are on the disk itself after at most so long, plus the sync."""
SETTLED_WITHIN_S: Final = 1.0
"""Acknowledgements alone are urgent to nobody: at worst a row is sent a second time."""
_FULL_DRAFTS: Final = 256
_FULL_BYTES: Final = 1 << 20
_FULL_KEYS: Final = 1_024
"""So much is worth a commit at once: what its pages cost is spread over many by then."""


@dataclass(slots=True)
class Cadence:
    """Spaces commits by `interval_s`, rather than delays each: what comes after a pause is committed at once.

    Times are seconds of one steady clock of the thread's own, as its waiting is.
    """

    interval_s: float
    _committed_s: float = float("-inf")
    _synced_s: float = float("-inf")
    _gathered_s: float | None = None

    def due_s(self, work: Work, now_s: float) -> float:
        """When `work` is to be committed; infinity while there is none, and the past where it is late."""
        if not work:
            return float("inf")
        if self._gathered_s is None:
            self._gathered_s = now_s
        if _is_full(work):
            return now_s
        due_s = self._gathered_s + SETTLED_WITHIN_S
        if work.drafts:
            due_s = min(due_s, self._committed_s + self.interval_s)
        if work.strict:
            due_s = min(due_s, self._synced_s + min(self.interval_s, STRICT_WITHIN_S))
        return due_s

    def committed(self, now_s: float, *, synced: bool) -> None:
        """There is nothing gathered any more."""
        self._committed_s = now_s
        if synced:
            self._synced_s = now_s
        self._gathered_s = None


def _is_full(work: Work) -> bool:
    return (
        len(work.drafts) >= _FULL_DRAFTS
        or work.draft_bytes >= _FULL_BYTES
        or len(work.acknowledged) + len(work.refusals) >= _FULL_KEYS
    )
