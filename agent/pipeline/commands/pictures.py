"""The next picture of a camera for whoever asks, and nothing that costs anything while nobody does."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.pipeline.results import Result
from agent.pipeline.scheduler import FrameJob
from agent.pipeline.seeing import Seen
from agent.pipeline.waiting import wait_for_event

SERVED_WITHIN_S: Final = 5.0
CAPTURED_WITHIN_S: Final = 10.0
_MOST_UNMATCHED: Final = 8
"""A frame and what is seen in it come by two ways, either of them first; so few lie between."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame, and what is seen in it; None where no model looked in time."""

    frame: Frame
    seen: Seen | None


@dataclass(slots=True)
class _Wish:
    """What somebody waits for. `captured` is set in a capture thread, all else on the event loop."""

    captured: Frame | None = None
    is_captured: asyncio.Event = field(default_factory=asyncio.Event)
    frames: dict[int, Frame] = field(default_factory=dict)
    seens: dict[int, Seen] = field(default_factory=dict)
    picture: Picture | None = None
    is_seen: asyncio.Event = field(default_factory=asyncio.Event)

    def match(self) -> None:
        for number in self.frames.keys() & self.seens.keys():
            self.picture = Picture(self.frames[number], self.seens[number])
            self.is_seen.set()
        for unmatched in (self.frames, self.seens):
            while len(unmatched) > _MOST_UNMATCHED:
                del unmatched[min(unmatched)]


class Pictures:
    """Hears of a frame as it is `captured`, in that thread, `served`, in a lane, and `seen`, on the loop."""

    def __init__(
        self, *, served_within_s: float = SERVED_WITHIN_S, captured_within_s: float = CAPTURED_WITHIN_S
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._served_within_s = served_within_s
        self._captured_within_s = captured_within_s
        self._wishes: dict[SourceName, tuple[_Wish, ...]] = {}

    def captured(self, frame: Frame) -> None:
        """A camera has given this."""
        for wish in self._wishes.get(frame.source, ()):
            is_first, wish.captured = wish.captured is None, frame
            if is_first:
                self._loop.call_soon_threadsafe(wish.is_captured.set)

    def served(self, job: FrameJob, _results: Sequence[Result]) -> None:
        """A model has looked at these: the worker's `OnServed`."""
        if not self._wishes:
            return
        for frame in job.frames:
            if frame.source in self._wishes:
                self._loop.call_soon_threadsafe(self._take_frame, frame)

    def seen(self, seen: Seen) -> None:
        """This was seen in a frame."""
        for wish in self._wishes.get(seen.result.source, ()):
            wish.seens[seen.result.number] = seen
            wish.match()

    async def next(self, source: SourceName, *, has_model: bool) -> Picture:
        """The next one in which something could be seen; else, without a model or in want of time, any.

        Raises:
            TransientError: the camera gives none.
        """
        wish = _Wish()
        self._change(source, wish, wanted=True)
        try:
            if has_model:
                await wait_for_event(wish.is_seen, timeout_s=self._served_within_s)
            if wish.picture is None:
                await wait_for_event(wish.is_captured, timeout_s=self._captured_within_s)
        finally:
            self._change(source, wish, wanted=False)
        if wish.picture is not None:
            return wish.picture
        if wish.captured is not None:
            return Picture(wish.captured, None)
        raise TransientError(
            f"{source} has given no picture for {self._captured_within_s:g} s; health tells why",
            code=Code.TIMEOUT,
        )

    def _take_frame(self, frame: Frame) -> None:
        for wish in self._wishes.get(frame.source, ()):
            wish.frames[frame.number] = frame
            wish.match()

    def _change(self, source: SourceName, wish: _Wish, *, wanted: bool) -> None:
        others = tuple(each for each in self._wishes.get(source, ()) if each is not wish)
        wishes = (*others, wish) if wanted else others
        # Made anew on the loop: other threads read it as it is.
        all_wishes = {**self._wishes, source: wishes}
        self._wishes = {name: each for name, each in all_wishes.items() if each}
