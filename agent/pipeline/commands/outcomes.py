"""How a command ends where it does not end well. Pure."""

from typing import Final

from agent.contract.problems import FaultyDocumentError
from agent.contract.topics import CommandTopic
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from agent.ports import CommandOutcome, KeptCommand

_RETRYABLE: Final = frozenset({Code.BUSY, Code.CLOCK, Code.INTERRUPTED, Code.SPACE, Code.TIMEOUT})

BUSY: Final = CommandOutcome(
    "rejected",
    Code.BUSY,
    None,
    "too many commands at once; the same command may be sent again in a while",
    retryable=True,
)
"""Its id was not kept: nothing was done."""


def rejected(error: NanofleetError) -> CommandOutcome:
    """It was not even begun."""
    if isinstance(error, FaultyDocumentError):
        first = error.problems[0]
        message = f"{first.message}; {first.hint}" if first.hint else first.message
    else:
        message = error.message
    return CommandOutcome("rejected", error.code, _pointer(error), message, retryable=_may_fare_better(error))


def failed(error: NanofleetError) -> CommandOutcome:
    """It was begun, and this came of it."""
    return CommandOutcome(
        "failed", error.code, _pointer(error), error.message, retryable=_may_fare_better(error)
    )


def told_before(known: KeptCommand, topic: CommandTopic) -> CommandOutcome | None:
    """What a second command with the id of `known` gets: the first one's result, None before there is one."""
    if known.op != topic.op:
        message = f"its id was used before, for {known.op}; each command needs one of its own"
        return CommandOutcome("rejected", Code.CONFLICT, "/id", message)
    return known.outcome


def _pointer(error: NanofleetError) -> str | None:
    """Paths of other errors are files, or causes."""
    return (error.path or None) if isinstance(error, RefusedError) else None


def _may_fare_better(error: NanofleetError) -> bool:
    return isinstance(error, TransientError) or error.code in _RETRYABLE
