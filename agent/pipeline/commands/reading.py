"""From what came in to a command that may be done, or to why not."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from agent.contract.commands import Command, read_command, unknown_op
from agent.contract.topics import CommandTopic
from agent.domain.errors import Code, RefusedError
from agent.pipeline.supervise import in_thread
from agent.ports import Clock, Inbound

_READ_IN_THREAD_BYTES: Final = 2_048
"""Larger ones could hold the loop for a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message whose topic names a command, and when it came, monotonic."""

    topic: CommandTopic
    inbound: Inbound
    at_ns: int


class Open(Protocol):
    """Gives the JSON inside a message."""

    def __call__(self, payload: bytes, op: str) -> bytes:
        """Raises: RefusedError, where this node may not take it, or not for that operation."""


class Reader:
    """Believes nothing: not the flags, not the signature, not the text, not the time. On the event loop."""

    def __init__(self, *, operations: Collection[str], clock: Clock, open_signed: Open) -> None:
        self._operations = operations
        self._clock = clock
        self._open_signed = open_signed

    async def read(self, arrival: Arrival) -> Command:
        """The command.

        Raises:
            RefusedError: it is none, or may not be done.
        """
        if arrival.inbound.retained:
            raise RefusedError(
                "it was published as retained, and would come again at every connect; publish it without",
                code=Code.RETAINED,
            )
        # The topic's operation will do: a command that names another one is refused below.
        payload = self._open_signed(arrival.inbound.payload, arrival.topic.op)
        if len(payload) > _READ_IN_THREAD_BYTES:
            command = await in_thread(
                "read-command", lambda: read_command(payload, arrival.topic), yields=True
            )
        else:
            command = read_command(payload, arrival.topic)
        if command.op not in self._operations:
            raise unknown_op(command.op, known=tuple(self._operations))
        self._check_time(command, arrival)
        return command

    def _check_time(self, command: Command, arrival: Arrival) -> None:
        """Raises: RefusedError (too late). A wall clock that is not known to be right judges nothing."""
        now = self._clock.now()
        waited_s = (now.monotonic_ns - arrival.at_ns) / 1e9
        if arrival.inbound.expiry_s is not None and waited_s > arrival.inbound.expiry_s:
            raise RefusedError("its message expired while it waited for others", code=Code.EXPIRED)
        if self._clock.synced() and command.is_expired(now.wall_ns / 1e9):
            raise RefusedError(
                "its time is over; issue it anew, with a new id", code=Code.EXPIRED, path="/expires_at"
            )
