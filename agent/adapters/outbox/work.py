"""What one transaction has to do, gathered from many calls."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from agent.adapters.outbox.rows import size_of
from agent.adapters.outbox.schema import RANKS, STRICT
from agent.domain.ids import Stream
from agent.ports import Draft, Priority

_SLACK: Final = 16
"""Memory that has become full is cleared of a sixteenth at once, not of one draft for each that comes."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row to be set aside."""

    key: int
    reason: Literal["refused", "oversize"]
    code: int | None


@dataclass(slots=True)
class Work:
    """Drafts in order of their calls. `unnumbered` counts those that were dropped for want of a disk.

    `draft_bytes` is what the drafts will take in the file; `strict`, whether anything must be synced soon.
    """

    drafts: list[Draft] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unnumbered: Counter[Stream] = field(default_factory=Counter)
    draft_bytes: int = 0
    strict: bool = False

    def __bool__(self) -> bool:
        return bool(self.drafts or self.acknowledged or self.refusals or self.unnumbered)

    @property
    def settled_keys(self) -> frozenset[int]:
        """Rows that are still in the file, but on their way out."""
        return frozenset(self.acknowledged) | {refusal.key for refusal in self.refusals}

    def append(self, draft: Draft, size: int) -> None:
        """`size` as `size_of` tells it."""
        self.drafts.append(draft)
        self.draft_bytes += size
        self.strict = self.strict or draft.priority in STRICT

    def refuse(self, refusal: Refusal) -> None:
        """Its loss is to be told, and soon."""
        self.refusals.append(refusal)
        self.strict = True

    def split(self, *, max_bytes: int) -> tuple["Work", "Work"]:
        """What a first transaction of about `max_bytes` takes, and the drafts that are left for later ones.

        All keys are in the first. This one stays as it is.
        """
        size, place = 0, 0
        while place < len(self.drafts) and (place == 0 or size < max_bytes):
            size += size_of(self.drafts[place])
            place += 1
        first = Work(
            self.drafts[:place], self.acknowledged, self.refusals, self.unnumbered, size, self.strict
        )
        left = self.drafts[place:]
        strict = any(draft.priority in STRICT for draft in left)
        return first, Work(left, draft_bytes=self.draft_bytes - size, strict=strict)

    def shrink(self, *, max_bytes: int, max_keys: int) -> int:
        """Keep to the bounds while nothing can be written; how many drafts were dropped and counted.

        Drafts go as rows do: the oldest of the lowest priority first. Of acknowledgements and refusals the
        oldest are forgotten: their rows will be sent twice.
        """
        del self.acknowledged[:-max_keys]
        del self.refusals[:-max_keys]
        if self.draft_bytes <= max_bytes:
            return 0
        excess = self.draft_bytes - max_bytes + max_bytes // _SLACK
        gone: set[int] = set()
        for priority in reversed(RANKS):
            if excess <= 0:
                break
            excess = self._choose(priority, excess, gone)
        for place in gone:
            draft = self.drafts[place]
            self.unnumbered[draft.stream] += 1
            self.draft_bytes -= size_of(draft)
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
