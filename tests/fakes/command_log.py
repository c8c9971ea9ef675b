"""A command log in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import CommandOutcome, KeptCommand


class FakeCommandLog:
    """Fulfils `ports.CommandLog`; `broken` makes it refuse as a full disk does."""

    def __init__(
        self,
        *,
        repeatable: Collection[str] = (),
        most_entered: int = 10_000,
        most_repeatable: int = 1_000,
        most_refused: int = 1_000,
    ) -> None:
        self.kept: dict[str, KeptCommand] = {}
        self.broken = False
        self._entered: list[str] = []
        self._refused: list[str] = []
        self._repeated: list[str] = []
        self._repeatable = frozenset(repeatable)
        self._most_entered = most_entered
        self._most_repeatable = most_repeatable
        self._most_refused = most_refused

    def enter(self, op: str, command_id: str) -> KeptCommand | None:
        self._need_disk()
        if command_id in self.kept:
            return self.kept[command_id]
        if op in self._repeatable:
            self._repeated.append(command_id)
            if len(self._repeated) > self._most_repeatable:
                del self.kept[self._repeated.pop(0)]
        elif len(self._entered) >= self._most_entered:
            raise RefusedError("too many within a day", code=Code.BUSY)
        else:
            self._entered.append(command_id)
        self.kept[command_id] = KeptCommand(op, command_id, None)
        return None

    def refuse(self, op: str, command_id: str, outcome: CommandOutcome) -> KeptCommand | None:
        self._need_disk()
        if command_id in self.kept:
            return self.kept[command_id]
        self.kept[command_id] = KeptCommand(op, command_id, outcome)
        self._refused.append(command_id)
        if len(self._refused) > self._most_refused:
            del self.kept[self._refused.pop(0)]
        return None

    def finish(self, command_id: str, outcome: CommandOutcome) -> None:
        self._need_disk()
        if command_id in self.kept:
            self.kept[command_id] = replace(self.kept[command_id], outcome=outcome)

    def unfinished(self) -> Sequence[KeptCommand]:
        self._need_disk()
        return [kept for kept in self.kept.values() if kept.outcome is None]

    def _need_disk(self) -> None:
        if self.broken:
            raise TransientError("the disk is full", code=Code.SPACE)
