"""The log of commands as the event loop may use it: in threads, and never for longer than it can wait."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from agent.domain.errors import Code, TransientError
from agent.pipeline.supervise import in_thread
from agent.ports import CommandLog, CommandOutcome, KeptCommand

Answer = TypeVar("Answer")

PATIENCE_S: Final = 5.0


class Record:
    """Each call does what its namesake of `CommandLog` does, and raises what that raises.

    Raises:
        TransientError: also when the disk has not answered within `PATIENCE_S` (E_TIMEOUT).
    """

    def __init__(self, log: CommandLog) -> None:
        self._log = log

    async def enter(self, op: str, command_id: str) -> KeptCommand | None:
        return await _ask(lambda: self._log.enter(op, command_id))

    async def refuse(self, op: str, command_id: str, outcome: CommandOutcome) -> KeptCommand | None:
        return await _ask(lambda: self._log.refuse(op, command_id, outcome))

    async def finish(self, command_id: str, outcome: CommandOutcome) -> None:
        await _ask(lambda: self._log.finish(command_id, outcome))

    async def unfinished(self) -> Sequence[KeptCommand]:
        return await _ask(self._log.unfinished)


async def _ask(call: Callable[[], Answer]) -> Answer:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await in_thread("command-log", call)
    except TimeoutError as error:
        raise TransientError(
            f"the disk with the log of commands has not answered for {PATIENCE_S:g} s", code=Code.TIMEOUT
        ) from error
