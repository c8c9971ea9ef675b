"""How well tracks keep to who is who: IDF1 and identity switches."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.overlap import overlaps
from agent.vision.tracking.assignment import best_pairs

SAME: Final = 0.5
"""Least overlap (IoU) of a tracked box with the truth, as MOTChallenge has it."""


@dataclass(slots=True)
class Identity:
    """Counts over a sequence, frame by frame.

    `idf1`, source: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
    Tracking", ECCV 2016 workshops: each person is given the one track, and each track the one person, by
    which the most boxes are right altogether; 2 · right / (boxes of people + boxes of tracks).

    `switches`, source: Bernardin, Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR
    MOT Metrics", 2008: how often a person's box goes to another track than its last one had.
    """

    asked: int = 0
    told: int = 0
    switches: int = 0
    _together: Counter[tuple[int, int]] = field(default_factory=Counter)
    _before: dict[int, int] = field(default_factory=dict)
    _last: dict[int, int] = field(default_factory=dict)

    def add(
        self,
        people: NDArray[np.int64],
        truth: NDArray[np.float64],
        tracks: NDArray[np.int64],
        boxes: NDArray[np.float64],
    ) -> None:
        """One more frame: people and where they are, tracks and where they are."""
        self.asked += len(people)
        self.told += len(tracks)
        over = overlaps(truth, boxes)
        for row, column in np.argwhere(over >= SAME).tolist():
            self._together[int(people[row]), int(tracks[column])] += 1
        # Who still fits the track of the frame before keeps it; the others share what is left over.
        worth = np.where(over >= SAME, over, 0.0)
        for row, person in enumerate(people.tolist()):
            worth[row] += np.where((tracks == self._before.get(person)) & (worth[row] > 0), 1000.0, 0.0)
        self._before = {int(people[row]): int(tracks[column]) for row, column in best_pairs(worth)}
        self.switches += sum(self._last.get(person, track) != track for person, track in self._before.items())
        self._last |= self._before

    @property
    def idf1(self) -> float:
        """1 is perfect, 0 is nothing right; 1 where there was nothing to tell."""
        people = {person: row for row, person in enumerate(sorted({each for each, _ in self._together}))}
        tracks = {track: column for column, track in enumerate(sorted({each for _, each in self._together}))}
        frames = np.zeros((len(people), len(tracks)))
        for (person, track), count in self._together.items():
            frames[people[person], tracks[track]] = count
        right = sum(frames[row, column] for row, column in best_pairs(frames))
        return float(2 * right / (self.asked + self.told)) if self.asked + self.told else 1.0
