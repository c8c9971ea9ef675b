"""Time, as the pipeline needs it."""

from typing import Protocol

from agent.domain.stamp import Stamp


class Clock(Protocol):
    """Time, readable from every thread."""

    @property
    def boot(self) -> str:
        """The kernel's boot id: monotonic times compare only within one."""

    def now(self) -> Stamp: ...

    def synced(self) -> bool:
        """Whether the wall clock is known to be right. Cheap; never blocks."""


class KnownTime(Protocol):
    """The latest time known for certain, kept over restarts."""

    def note(self, *, at_end: bool = False) -> str | None:
        """Store the time now and then, and `at_end`, where it is known. What is wrong, for a person.

        Blocks on the disk.
        """
