"""Where captured things enter the pipeline: numbered, stamped, cut into windows. In capture threads."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import Reading, SensorWindow
from agent.pipeline.handover import Handover
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.results import Result, SensorReadings
from agent.pipeline.windows import WindowAssembler
from agent.ports import Clock, Metrics

_PATIENCE_S = 1.0

Item_contra = TypeVar("Item_contra", contravariant=True)


class Intake(Protocol[Item_contra]):
    """What a capture hands its items to."""

    def restart(self) -> None:
        """The source is opened anew."""

    def accept(self, item: Item_contra) -> bool:
        """Take `item` in, waiting where there is no room; False: nothing more is wanted."""


class FrameIntake:
    """Numbers and stamps a camera's pictures and puts them into its mailbox.

    `on_frame` hears of each before that, in the capture thread; it must be quick.
    """

    def __init__(
        self,
        *,
        source: SourceName,
        mailbox: Mailbox[Frame],
        clock: Clock,
        on_frame: Callable[[Frame], None] = lambda _frame: None,
    ) -> None:
        self._on_frame = on_frame
        self._source = source
        self._mailbox = mailbox
        self._clock = clock
        self._number = 0

    def restart(self) -> None:
        self._number = 0

    def accept(self, item: NDArray[np.uint8]) -> bool:
        frame = Frame(self._source, self._number, self._clock.now(), item)
        self._number += 1
        self._on_frame(frame)
        return self._mailbox.put(frame)


class ReadingIntake:
    """Passes a sensor's readings on to eventing and, cut into windows, to the worker."""

    def __init__(
        self,
        *,
        source: SourceName,
        results: Handover[Result],
        windows: WindowAssembler | None,
        mailbox: Mailbox[SensorWindow] | None,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._results = results
        self._windows = windows
        self._mailbox = mailbox

    def restart(self) -> None:
        if self._windows is not None:
            self._windows.clear()

    def accept(self, item: Sequence[Reading]) -> bool:
        said = SensorReadings(self._source, tuple(item))
        while not self._results.put(said, timeout_s=_PATIENCE_S):
            if self._results.closed:
                return False
        if self._windows is None or self._mailbox is None:
            return True
        broken_before = self._windows.broken
        windows = self._windows.push(item)
        if broken := self._windows.broken - broken_before:
            self._metrics.count("windows_broken_total", broken, source=self._source)
        return all(self._mailbox.put(window) for window in windows)
