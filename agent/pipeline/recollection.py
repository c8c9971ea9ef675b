"""What came from the sources in the last minutes, kept small, so that another policy can be tried on it."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.considered import Considered
from agent.domain.fates import FLOOR
from agent.domain.ids import SourceName
from agent.domain.reading import Reading
from agent.domain.stamp import Stamp
from agent.pipeline.results import FrameResult, Result, SensorReadings, WindowResult
from agent.ports import ModelFacts, Status

MINUTES: Final = 10.0
MAX_BYTES: Final = 16 * 1024 * 1024

READING_EVERY_S: Final = 0.05
"""Of each of a sensor's values one is kept in this time: an accelerometer's would fill the memory alone."""

_CANDIDATE: Final = np.dtype([("box", "<f4", (4,)), ("confidence", "<f4"), ("class_id", "<u2")])

_FRAME_BYTES: Final = 512
_READING_BYTES: Final = 320
_OTHER_BYTES: Final = 256
"""What an entry takes beside its arrays, measured with tracemalloc."""


@dataclass(frozen=True, slots=True)
class View:
    """What the frames of a camera have in common while its model stays: see `Considered`."""

    source: SourceName
    model: ModelFacts
    frame: tuple[int, int]
    corner: tuple[int, int]
    gain: tuple[float, float]
    suppresses: bool
    at_most: int | None


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame's candidates, in one array; `known_from` as in `Considered`."""

    view: View
    number: int
    captured: Stamp
    now: Stamp
    known_from: float
    candidates: NDArray[np.void]

    @property
    def source(self) -> SourceName:
        return self.view.source

    @property
    def considered(self) -> Considered:
        """As the model's head gave it."""
        view = self.view
        return Considered(
            boxes=self.candidates["box"],
            confidence=self.candidates["confidence"],
            class_id=self.candidates["class_id"],
            known_from=self.known_from,
            frame=view.frame,
            corner=view.corner,
            gain=view.gain,
            suppresses=view.suppresses,
            at_most=view.at_most,
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """What a sensor said, or how strange it was, or how a source was. `now`: when this became known."""

    source: SourceName
    what: tuple[Reading, ...] | WindowResult | Status
    now: Stamp


Entry = SeenFrame | Heard


class Recollection:
    """Entries in the order of their arrival; the oldest go when they are too old, or all together too large.

    On the event loop alone; what `since` gives may be read anywhere.
    """

    def __init__(self, *, minutes: float = MINUTES, max_bytes: int = MAX_BYTES) -> None:
        self._span_ns = int(minutes * 60e9)
        self._max_bytes = max_bytes
        self._entries: deque[tuple[int, Entry]] = deque()
        self._views: dict[SourceName, View] = {}
        self._kept_ns: dict[tuple[SourceName, str], int] = {}
        self._conditions: dict[SourceName, Heard] = {}
        self.bytes = 0
        """What all entries take, reckoned."""
        self.thinned: set[SourceName] = set()
        """Sensors of whose values not all were kept."""

    def remember(self, result: Result, now: Stamp) -> None:
        """Keep what may matter of it."""
        match result:
            case FrameResult():
                frame = self._seen(result, now)
                self._keep(frame, _FRAME_BYTES + frame.candidates.nbytes)
            case SensorReadings():
                kept = tuple(self._thinned(result))
                if kept:
                    self._keep(Heard(result.source, kept, now), _OTHER_BYTES + len(kept) * _READING_BYTES)
            case WindowResult():
                self._keep(Heard(result.source, result, now), _OTHER_BYTES + _READING_BYTES)

    def remember_condition(self, source: SourceName, status: Status, now: Stamp) -> None:
        """How a source is, from now on."""
        self._keep(Heard(source, status, now), _OTHER_BYTES)

    def since(self, monotonic_ns: int) -> tuple[Entry, ...]:
        """What arrived at or after that time, in its order; before it how sources were at the beginning."""
        conditions = dict(self._conditions)
        for at, (_, entry) in enumerate(self._entries):
            if entry.now.monotonic_ns >= monotonic_ns:
                recent = tuple(each for _, each in islice(self._entries, at, None))
                return tuple(replace(each, now=entry.now) for each in conditions.values()) + recent
            if isinstance(entry, Heard) and isinstance(entry.what, str):
                conditions[entry.source] = entry
        return ()

    def frames(self, source: SourceName, since_ns: int) -> tuple[SeenFrame, ...]:
        """Those of one camera."""
        return tuple(
            entry
            for _, entry in self._entries
            if isinstance(entry, SeenFrame) and entry.source == source and entry.now.monotonic_ns >= since_ns
        )

    def _keep(self, entry: Entry, size: int) -> None:
        self._entries.append((size, entry))
        self.bytes += size
        oldest_ns = entry.now.monotonic_ns - self._span_ns
        while self.bytes > self._max_bytes or self._entries[0][1].now.monotonic_ns < oldest_ns:
            size, gone = self._entries.popleft()
            self.bytes -= size
            if isinstance(gone, Heard) and isinstance(gone.what, str):
                self._conditions[gone.source] = gone

    def _seen(self, result: FrameResult, now: Stamp) -> SeenFrame:
        considered = result.detections.considered
        if considered is None:
            view, known_from, candidates = self._view(result, None), FLOOR, _NOTHING
        else:
            view, known_from = self._view(result, considered), considered.known_from
            candidates = np.empty(len(considered.confidence), _CANDIDATE)
            candidates["box"] = considered.boxes
            candidates["confidence"] = considered.confidence
            candidates["class_id"] = considered.class_id
        return SeenFrame(view, result.number, result.captured, now, known_from, candidates)

    def _view(self, result: FrameResult, considered: Considered | None) -> View:
        """One object for many frames. Where nothing came near, how the frame lay plays no part."""
        before = self._views.get(result.source)
        if before is not None and _lies_as_before(result, considered, before):
            return before
        frame = (result.width_px, result.height_px)
        if considered is None:
            view = View(result.source, result.model, frame, (0, 0), (1.0, 1.0), suppresses=True, at_most=None)
        else:
            view = View(
                result.source,
                result.model,
                frame,
                considered.corner,
                considered.gain,
                considered.suppresses,
                considered.at_most,
            )
        self._views[result.source] = view
        return view

    def _thinned(self, result: SensorReadings) -> Iterator[Reading]:
        for reading in result.readings:
            key = (result.source, reading.name)
            at_ns = reading.at.monotonic_ns
            if at_ns - self._kept_ns.get(key, -(10**18)) >= READING_EVERY_S * 1e9:
                self._kept_ns[key] = at_ns
                yield reading
            else:
                self.thinned.add(result.source)


def _lies_as_before(result: FrameResult, considered: Considered | None, before: View) -> bool:
    if before.model is not result.model or before.frame != (result.width_px, result.height_px):
        return False
    return considered is None or (before.corner == considered.corner and before.gain == considered.gain)


_NOTHING: Final = np.empty(0, _CANDIDATE)
_NOTHING.flags.writeable = False
