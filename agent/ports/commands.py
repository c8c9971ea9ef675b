"""What is remembered of commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agent.domain.errors import Code


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How a command ended. `path`: a JSON pointer into it; `retryable`: a new one may fare better."""

    status: Literal["done", "failed", "rejected"]
    code: Code | None = None
    path: str | None = None
    message: str = ""
    retryable: bool = False
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptCommand:
    """A command whose id is known. `outcome` None: it has not ended."""

    op: str
    id: str
    outcome: CommandOutcome | None


class CommandLog(Protocol):
    """The ids of commands, each with how it ended, over restarts. Every thread may call; waits for the disk.

    An id belongs to one command, whatever the operation. What was entered is kept for a day at least; of
    what was only refused, and of operations that change nothing, the last thousand.
    """

    def enter(self, op: str, command_id: str) -> KeptCommand | None:
        """Keep the id of a command that is about to run: on the disk itself when it returns.

        What is known of it, if it was there already: then nothing is to be done.

        Raises:
            RefusedError: as many were entered within a day as are kept (E_BUSY).
            TransientError: the disk refuses (E_SPACE); the command may not run.
        """

    def refuse(self, op: str, command_id: str, outcome: CommandOutcome) -> KeptCommand | None:
        """Keep how a command ended that is not to run; what is known of it, if it was there already.

        Raises:
            TransientError: the disk refuses; it is not kept.
        """

    def finish(self, command_id: str, outcome: CommandOutcome) -> None:
        """Keep how a command ended that was entered, on the disk itself when it returns; else nothing.

        Raises:
            TransientError: the disk refuses; after a restart the command counts as interrupted.
        """

    def unfinished(self) -> Sequence[KeptCommand]:
        """What was entered and has not ended, in order. Asked before anything else, it was interrupted."""
