"""What one transaction has to do, gathered from many calls."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from agent.adapters.outbox.rows import size_of
from agent.adapters.outbox.schema import RANKS
from agent.domain.ids import Stream
from agent.ports import Draft, Priority


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row to be set aside."""

    key: int
    reason: Literal["refused", "oversize"]
    code: int | None


@dataclass(slots=True)
class Work:
    """Drafts in order of their calls. `unnumbered` counts those that were dropped for want of a disk."""

    drafts: list[Draft] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unnumbered: Counter[Stream] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.drafts or self.acknowledged or self.refusals or self.unnumbered)

    @property
    def settled_keys(self) -> frozenset[int]:
        """Rows that are still in the file, but on their way out."""
        return frozenset(self.acknowledged) | {refusal.key for refusal in self.refusals}

    def shrink(self, *, max_bytes: int, max_keys: int) -> int:
        """Keep to the bounds while nothing can be written; how many drafts were dropped and counted.

        Drafts go as rows do: the oldest of the lowest priority first. Of acknowledgements the oldest are
        forgotten: their rows will be sent twice.
        """
        del self.acknowledged[:-max_keys]
        excess = sum(map(size_of, self.drafts)) - max_bytes
        gone: set[int] = set()
        for priority in reversed(RANKS):
            if excess <= 0:
                break
            excess = self._choose(priority, excess, gone)
        for place in gone:
            self.unnumbered[self.drafts[place].stream] += 1
        self.drafts = [draft for place, draft in enumerate(self.drafts) if place not in gone]
        return len(gone)

    def forget_keys(self) -> None:
        """The rows that keys named are gone with their file."""
        self.acknowledged.clear()
        self.refusals.clear()

    def _choose(self, priority: Priority, excess: int, gone: set[int]) -> int:
        for place, draft in enumerate(self.drafts):
            if excess <= 0:
                break
            if draft.priority == priority:
                gone.add(place)
                excess -= size_of(draft)
        return excess
