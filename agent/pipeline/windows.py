"""From single readings to the windows that an anomaly model wants."""

from collections.abc import Iterable, Sequence

import numpy as np

from agent.domain.ids import SourceName
from agent.domain.reading import Reading, SensorWindow
from agent.domain.stamp import Stamp


class WindowAssembler:
    """Gathers one sensor's readings into windows of `window` samples, a new one every `hop` samples.

    Readings of one moment make one sample, its columns in the order of `channels`. A sample that lacks a
    channel, or has a bad one, breaks the run: the window begins anew after it, since a model must not
    take a gap for a signal.
    """

    def __init__(self, *, source: SourceName, channels: Sequence[str], window: int, hop: int) -> None:
        if not 1 <= hop <= window:
            raise ValueError(f"hop is {hop}; between 1 and the window's {window} samples would be right")
        self._source = source
        self._channels = tuple(channels)
        self._window = window
        self._hop = hop
        self._stamps: list[Stamp] = []
        self._rows: list[list[float]] = []
        self._moment: Stamp | None = None
        self._sample: dict[str, float] = {}
        self.broken = 0
        """How often a run was broken by an incomplete sample."""

    def push(self, readings: Iterable[Reading]) -> list[SensorWindow]:
        """Add readings, oldest first; returns the windows that they complete."""
        windows = []
        for reading in readings:
            if reading.name not in self._channels:
                continue
            if self._moment is not None and reading.at != self._moment:
                self._end_sample()
            self._moment = reading.at
            if reading.quality != "bad" and np.isfinite(reading.value):
                self._sample[reading.name] = reading.value
            if len(self._sample) == len(self._channels):
                self._end_sample()
                if len(self._rows) == self._window:
                    windows.append(self._cut())
        return windows

    def clear(self) -> None:
        """Forget what was gathered: the source begins anew."""
        self._rows.clear()
        self._stamps.clear()
        self._sample.clear()
        self._moment = None

    def _end_sample(self) -> None:
        moment, self._moment = self._moment, None
        sample, self._sample = self._sample, {}
        if moment is None:
            return
        if len(sample) < len(self._channels):
            self.broken += bool(self._rows)
            self._rows.clear()
            self._stamps.clear()
            return
        self._rows.append([sample[name] for name in self._channels])
        self._stamps.append(moment)

    def _cut(self) -> SensorWindow:
        values = np.asarray(self._rows, dtype=np.float32)
        window = SensorWindow(self._source, self._stamps[0], self._stamps[-1], values)
        del self._rows[: self._hop], self._stamps[: self._hop]
        return window
