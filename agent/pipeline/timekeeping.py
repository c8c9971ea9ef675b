"""What time it is at least: noted while it is known, told while it is not."""

import asyncio
from typing import Final

from agent.domain.errors import Code
from agent.pipeline.supervise import in_thread, within
from agent.pipeline.waiting import wait_for_event
from agent.ports import Condition, KnownTime

_EVERY_S: Final = 10.0
_LAST_WITHIN_S: Final = 2.0


class Timekeeping:
    """Has the time noted now and then, and at an ordered stop."""

    def __init__(self, *, known: KnownTime, on_condition: Condition) -> None:
        self._known = known
        self._on_condition = on_condition

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            trouble = await in_thread("time-floor", self._known.note)
            if trouble is None:
                self._on_condition("clock", "ok", None, None)
            else:
                self._on_condition("clock", "waiting", Code.CLOCK, trouble)
            await wait_for_event(stop, timeout_s=_EVERY_S)
        last = in_thread("time-floor", lambda: self._known.note(at_end=True))
        await within(_LAST_WITHIN_S, "clock", last)
