"""How the agent ends: stage after stage, left to right, each with a deadline of its own."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from agent.domain.errors import TransientError
from agent.pipeline.delivery import Delivery
from agent.pipeline.handover import Handover
from agent.pipeline.results import Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.sources import Sources
from agent.pipeline.supervise import all_ended, within
from agent.pipeline.waiting import wait_for_event
from agent.ports import Outbox

STOP_S: Final = {"capture": 1.0, "inference": 2.0, "eventing": 1.0, "delivery": 3.0}
"""How long each stage may take to stop in order; with half a second to commit and one and a half to close the
outbox, within 10 s."""

_FAREWELL_S: Final = STOP_S["delivery"] - 0.5
_COMMIT_S: Final = 0.5
_DRAINED_POLL_S: Final = 0.1

Stages = dict[str, list["asyncio.Task[None]"]]
"""The tasks of each stage but the sources, in the order of the data."""


class Ending:
    """What is closed and awaited in turn."""

    def __init__(
        self,
        *,
        sources: Sources,
        scheduler: Scheduler,
        results: Handover[Result],
        delivery: Delivery,
        outbox: Outbox,
    ) -> None:
        self._sources = sources
        self._scheduler = scheduler
        self._results = results
        self._delivery = delivery
        self._outbox = outbox

    async def in_order(self, stages: Stages) -> None:
        """Close each stage's input, left to right, and await its end; cancel what misses its deadline."""
        self._sources.stop_all()
        # A full mailbox holds its capture thread back: closing it is what lets both go.
        self._scheduler.close()
        closings: dict[str, Callable[[], None]] = {
            "eventing": self._results.close,
            "delivery": lambda: self._delivery.stop(reason="stopped", within_s=_FAREWELL_S),
        }
        for stage, tasks in {"capture": self._sources.tasks(), **stages}.items():
            if stage == "delivery":
                # Answered after the commit of what eventing has just handed over.
                with contextlib.suppress(TransientError):
                    await within(_COMMIT_S, "outbox", self._outbox.statistics())
            if stage in closings:
                closings[stage]()
            if not await within(STOP_S[stage], stage, all_ended(tasks)):
                for task in tasks:
                    task.cancel()

    async def when_captured(self, stages: Stages, stop: asyncio.Event) -> None:
        """Files that are read once: go on until the broker has the last of their messages."""
        await all_ended(self._sources.tasks(cameras_only=True))
        self._sources.stop_all()
        await all_ended(self._sources.tasks())
        self._scheduler.close()
        await all_ended(stages["inference"])
        self._results.close()
        await all_ended(stages["eventing"])
        while not (stop.is_set() or await self._is_drained()):
            await wait_for_event(stop, timeout_s=_DRAINED_POLL_S)
        stop.set()

    async def _is_drained(self) -> bool:
        try:
            statistics = await self._outbox.statistics()
        except TransientError:
            return False
        return statistics.rows == statistics.at_broker
