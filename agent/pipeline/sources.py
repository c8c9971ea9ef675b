"""The sources that run: each a capture of its own, which starts, stops and changes without the others."""

from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from agent.domain.ids import SourceName
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import all_ended, within

if TYPE_CHECKING:
    import asyncio

log = structlog.get_logger(__name__)

_STOP_S: Final = 3.0
"""One that is blocked for longer, in its library, is abandoned: who waits for it would be dark meanwhile."""

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
"""Runs a coroutine as a named task of the agent's group."""


class Runnable(Protocol):
    """A capture, for whoever starts and stops it."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Running:
    capture: Runnable
    task: "asyncio.Task[None]"
    is_camera: bool


class Sources:
    """Used on the event loop. `forget` hears of a source that is no more."""

    def __init__(self, *, scheduler: Scheduler, forget: Callable[[SourceName], None]) -> None:
        self._scheduler = scheduler
        self._forget = forget
        self._running: dict[SourceName, _Running] = {}
        self._spawn: Spawn | None = None

    def attach(self, spawn: Spawn) -> None:
        """There is a group for the captures from now on."""
        self._spawn = spawn

    @property
    def names(self) -> Collection[SourceName]:
        return self._running.keys()

    def start(self, name: SourceName, capture: Runnable, *, is_camera: bool) -> None:
        """Capture from now on."""
        if self._spawn is None:
            raise RuntimeError("there is no group yet that a capture could run in")
        task = self._spawn(capture.run(), f"capture[{name}]")
        self._running[name] = _Running(capture, task, is_camera)

    async def stop(self, names: Collection[SourceName], *, for_good: Collection[SourceName] = ()) -> None:
        """Capture no more, and wait a little until all of them have been let go of.

        Those that do not run are passed over; of those that end `for_good` nobody knows then.
        """
        ending = {name: self._running.pop(name) for name in names if name in self._running}
        for name, running in ending.items():
            running.capture.stop()
            self._scheduler.remove(name)
        tasks = [running.task for running in ending.values()]
        if not await within(_STOP_S, f"capture[{', '.join(ending)}]", all_ended(tasks)):
            for task in tasks:
                task.cancel()
        for name in for_good:
            self._forget(name)

    def stop_all(self) -> None:
        """Capture nothing more; `tasks` end one after the other."""
        for running in self._running.values():
            running.capture.stop()

    def tasks(self, *, cameras_only: bool = False) -> "list[asyncio.Task[None]]":
        return [one.task for one in self._running.values() if one.is_camera or not cameras_only]

    def is_running(self, name: SourceName) -> bool:
        """Whether its capture goes on: it has not ended by itself."""
        running: Mapping[SourceName, _Running] = self._running
        return name in running and not running[name].task.done()
