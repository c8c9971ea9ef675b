"""Sources start and stop alone; one that is blocked in its library is not waited for."""

from __future__ import annotations

import asyncio

import pytest

from agent.domain.ids import SourceName
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.sources import Sources
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.slow

DOOR, YARD, HALL = SourceName("door"), SourceName("yard"), SourceName("hall")


class Camera:
    """A capture that ends when it is told to, or hangs."""

    def __init__(self, *, hangs: bool = False) -> None:
        self._hangs = hangs
        self._told = asyncio.Event()

    async def run(self) -> None:
        await self._told.wait()
        if self._hangs:
            await asyncio.Event().wait()

    def stop(self) -> None:
        self._told.set()


async def test_sources_that_hang_are_abandoned_together_and_the_others_go_on() -> None:
    forgotten: list[SourceName] = []
    sources = Sources(scheduler=Scheduler(clock=FakeClock()), forget=forgotten.append)
    async with asyncio.TaskGroup() as group:
        sources.attach(lambda capture, name: group.create_task(capture, name=name))
        for name, hangs in ((DOOR, True), (YARD, True), (HALL, False)):
            sources.start(name, Camera(hangs=hangs), is_camera=True)
        hanging = sources.tasks()[:2]
        await sources.stop([DOOR, YARD], for_good=[YARD])
        assert [task.cancelling() > 0 for task in hanging] == [True, True]
        assert (list(sources.names), forgotten) == ([HALL], [YARD])
        assert sources.is_running(HALL)
        # The same camera may be opened anew beside the thread that was left to itself.
        sources.start(DOOR, Camera(), is_camera=True)
        await sources.stop([DOOR, HALL, SourceName("nobody")])
    assert list(sources.names) == []
