"""The next picture of a camera for whoever asks, and nothing that costs anything while nobody does."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import FrameJob
from agent.pipeline.waiting import wait_for_event

SERVED_WITHIN_S: Final = 5.0
SEEN_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame, and what the model found in it; None where no model looked in time."""

    frame: Frame
    result: FrameResult | None


@dataclass(slots=True)
class _Wish:
    seen: Frame | None = None
    served: Picture | None = None
    is_seen: asyncio.Event = field(default_factory=asyncio.Event)
    is_served: asyncio.Event = field(default_factory=asyncio.Event)


class Pictures:
    """`seen` hears of every frame in a capture thread, `served` of every result in a lane; `next` waits."""

    def __init__(
        self, *, served_within_s: float = SERVED_WITHIN_S, seen_within_s: float = SEEN_WITHIN_S
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._served_within_s = served_within_s
        self._seen_within_s = seen_within_s
        self._lock = threading.Lock()
        self._wishes: dict[SourceName, tuple[_Wish, ...]] = {}

    def seen(self, frame: Frame) -> None:
        """A camera has given this."""
        for wish in self._wishes.get(frame.source, ()):
            is_first, wish.seen = wish.seen is None, frame
            if is_first:
                self._loop.call_soon_threadsafe(wish.is_seen.set)

    def served(self, job: FrameJob, results: Sequence[Result]) -> None:
        """A model has looked at these: the worker's `OnServed`."""
        if not self._wishes:
            return
        for frame, result in zip(job.frames, results, strict=True):
            for wish in self._wishes.get(frame.source, ()):
                if wish.served is None and isinstance(result, FrameResult):
                    wish.served = Picture(frame, result)
                    self._loop.call_soon_threadsafe(wish.is_served.set)

    async def next(self, source: SourceName, *, has_model: bool) -> Picture:
        """The next one that its model has looked at; else, without a model or in want of time, any.

        Raises:
            TransientError: the camera gives none.
        """
        wish = _Wish()
        self._change(source, wish, wanted=True)
        try:
            if has_model:
                await wait_for_event(wish.is_served, timeout_s=self._served_within_s)
            if wish.served is None:
                await wait_for_event(wish.is_seen, timeout_s=self._seen_within_s)
        finally:
            self._change(source, wish, wanted=False)
        if wish.served is not None:
            return wish.served
        if wish.seen is not None:
            return Picture(wish.seen, None)
        raise TransientError(
            f"{source} has given no picture for {self._seen_within_s:g} s; health tells why",
            code=Code.TIMEOUT,
        )

    def _change(self, source: SourceName, wish: _Wish, *, wanted: bool) -> None:
        with self._lock:
            others = tuple(each for each in self._wishes.get(source, ()) if each is not wish)
            wishes = (*others, wish) if wanted else others
            # Made anew: other threads read it without the lock.
            all_wishes = {**self._wishes, source: wishes}
            self._wishes = {name: each for name, each in all_wishes.items() if each}
