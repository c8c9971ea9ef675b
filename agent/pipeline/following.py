"""One camera's objects from frame to frame: who is who, since when each stands where, and what he crosses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.contract.view import Line, Tracking
from agent.domain.detections import Detections
from agent.domain.stays import Stays
from agent.vision.lines import LineShape, LineWatch, Passage
from agent.vision.tracking import UNTRACKED, ByteTracker, Stillness, TrackingRules


@dataclass(frozen=True, slots=True)
class Followed:
    """What is known of a frame's objects, in their order, and which of them went over a line.

    `numbers`: of their tracks, None without one. `zones`: with the nanoseconds since which each is in it.
    """

    numbers: tuple[int | None, ...]
    moves: tuple[bool, ...]
    zones: tuple[Mapping[str, int], ...]
    passages: tuple[Passage, ...]


class Following:
    """The tracks of one camera; `given` numbers were given before, and are given to nobody else."""

    def __init__(self, tracking: Tracking, lines: Mapping[str, Line], *, given: int = 0) -> None:
        self._tracking = tracking
        self._tracker = ByteTracker(_rules(tracking), given=given)
        self._stillness = Stillness(after_s=tracking.still_after_s)
        self._lines, self._watch = dict(lines), _watch(lines)
        self._stays = Stays()

    @property
    def given(self) -> int:
        """The highest number given so far."""
        return self._tracker.given

    def adopt(self, tracking: Tracking, lines: Mapping[str, Line]) -> None:
        """From the next frame on; what is known is kept where it still holds."""
        if _rules(tracking) != _rules(self._tracking):
            self._tracker = ByteTracker(_rules(tracking), given=self.given)
        if tracking.still_after_s != self._tracking.still_after_s:
            self._stillness = Stillness(after_s=tracking.still_after_s)
        if lines != self._lines:
            self._lines, self._watch = dict(lines), _watch(lines)
        self._tracking = tracking

    def is_late(self, at_ns: int) -> bool:
        """Whether a younger frame was followed already; two lanes may overtake one another."""
        last_ns = self._tracker.last_ns
        return last_ns is not None and at_ns <= last_ns

    def step(
        self,
        found: Detections,
        *,
        zones: Sequence[Sequence[str]],
        places: NDArray[np.float64],
        frame_px: tuple[int, int],
        at_ns: int,
    ) -> Followed:
        """What is known of the objects of the next frame.

        `zones` are the names of those that each stands in, `places` their feet in fractions of the frame.
        """
        # In heights of the frame: the same along both axes, and as before if the camera changes its size.
        boxes = found.boxes / frame_px[1]
        numbers = self._tracker.step(boxes, found.confidence, found.class_id, at_ns=at_ns)
        known = np.flatnonzero(numbers != UNTRACKED)
        tracks = numbers[known].tolist()
        sides_px = (found.boxes[known, 2:] - found.boxes[known, :2]).min(axis=1, initial=np.inf)
        passages = self._watch.step(tracks, places[known], sides_px, frame_px)
        moves = dict(zip(known.tolist(), self._stillness.step(tracks, boxes[known], at_ns), strict=True))
        self._forget(self._tracker.alive)
        return Followed(
            numbers=tuple(number or None for number in numbers.tolist()),
            moves=tuple(moves.get(index, True) for index in range(len(found))),
            zones=tuple(
                self._stays.since(number, names, at_ns) if number else dict.fromkeys(names, at_ns)
                for number, names in zip(numbers.tolist(), zones, strict=True)
            ),
            passages=tuple(
                Passage(int(known[passage.index]), passage.line, passage.direction) for passage in passages
            ),
        )

    def forget_zones(self, names: Collection[str]) -> None:
        """Who stands in these has not stood there before."""
        self._stays.forget_zones(names)

    def _forget(self, alive: Collection[int]) -> None:
        self._watch.keep_only(alive)
        self._stillness.keep_only(alive)
        self._stays.keep_only(alive)


def _rules(tracking: Tracking) -> TrackingRules:
    return TrackingRules(
        keep_s=tracking.keep_s,
        confirm=tracking.confirm,
        high_confidence=tracking.high_confidence,
        low_confidence=tracking.low_confidence,
        min_overlap=tracking.min_overlap,
    )


def _watch(lines: Mapping[str, Line]) -> LineWatch:
    return LineWatch([LineShape(name, *line.points) for name, line in lines.items()])
