"""ByteTrack: which object of a frame is which of the frames before, also by its weak detections.

Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022,
algorithm 1. Different here: time is real, so that tracks are kept for seconds and motion is per second; only
objects of one class are matched; a number is given when a track is confirmed, so that a detection which
flashes up once uses up none; and a last round looks farther, for cameras of few frames a second.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.overlap import overlaps
from agent.vision.tracking import motion
from agent.vision.tracking.assignment import CHOICES, best_pairs

UNTRACKED: Final = 0
"""The number of what has no track that is confirmed."""

MOST_TRACKED: Final = 300
"""Of more objects in a frame only the strongest are tracked; of twice as many tracks only the latest kept."""

# Source: ByteTrack's published code, which asks for more overlap where less else speaks for a match.
_WEAK_OVERLAP: Final = 0.5
_LONELY_OVERLAP: Final = 0.3

# What is left over may have gone farther than expected: boxes are widened, the more the longer it had time.
# Source: Yang et al., "Hard To Track Objects with Irregular Motions and Similar Appearances? Make It
# Easier by Buffering the Matching Space", WACV 2023. The amount is by benchmarks/tracking.py: IDF1 at 3
# frames a second rises by a tenth, and at 10 nothing changes.
_MARGIN_PER_S: Final = 1.5
_MOST_MARGIN: Final = 0.5

_NONE: Final = -1

_TRACK: Final = np.dtype(
    [
        ("motion", np.float64, (5, 4)),
        ("class_id", np.int64),
        ("number", np.int64),
        ("sightings", np.int64),
        ("seen_ns", np.int64),
    ]
)


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """How sure the tracker wants to be.

    A track is kept `keep_s` seconds without a sighting, and at least to the frame after its last one; it has
    a number after `confirm` sightings in a row.
    Objects of `high_confidence` begin tracks and are matched first; those below it, down to `low_confidence`,
    only carry on confirmed tracks that nothing better goes with; weaker ones are not tracked. Matched is what
    overlaps the place expected by more than `min_overlap` (IoU), a weak one by more than a half.
    """

    keep_s: float = 2.0
    confirm: int = 2
    high_confidence: float = 0.4
    low_confidence: float = 0.1
    min_overlap: float = 0.2


class ByteTracker:
    """The tracks of one camera. Numbers begin at 1, or after those `given` before; none is given twice.

    The answer does not depend on the order in which a frame's objects are given.
    """

    def __init__(self, rules: TrackingRules, *, given: int = 0) -> None:
        self._rules = rules
        self._keep_ns = int(rules.keep_s * 1e9)
        self._tracks = np.empty(0, _TRACK)
        self._last_ns: int | None = None
        self.given = given
        """The highest number given so far."""

    @property
    def last_ns(self) -> int | None:
        """When the last frame was taken; there is none of before it any more."""
        return self._last_ns

    @property
    def alive(self) -> frozenset[int]:
        """The numbers of tracks that are seen, or may be seen again."""
        return frozenset(self._tracks["number"][self._tracks["number"] != UNTRACKED].tolist())

    def step(
        self,
        boxes: NDArray[np.float64],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.integer],
        *,
        at_ns: int,
    ) -> NDArray[np.int64]:
        """The track of each object of the next frame, `[N]`; `UNTRACKED` without one that is confirmed.

        `boxes` are x1, y1, x2, y2 in a unit that is the same along both axes, and in every frame.

        Raises:
            ValueError: the frame is not younger than the last one.
        """
        if self._last_ns is not None and at_ns <= self._last_ns:
            raise ValueError("this frame is older than the one before; tracks go forward only")
        order = _canonical(boxes, confidence, class_id)[:MOST_TRACKED]
        numbers = np.full(len(boxes), UNTRACKED, np.int64)
        numbers[order] = self._associate(boxes[order], confidence[order], class_id[order], at_ns)
        self._last_ns = at_ns
        return numbers

    def _associate(
        self,
        boxes: NDArray[np.float64],
        confidence: NDArray[np.float32],
        class_id: NDArray[np.integer],
        at_ns: int,
    ) -> NDArray[np.int64]:
        tracks, rules = self._fresh(at_ns), self._rules
        elapsed_s = (at_ns - (self._last_ns or at_ns)) / 1e9
        motion.predict(tracks["motion"], elapsed_s)
        expected = motion.boxes_of(tracks["motion"])
        same_class = tracks["class_id"][:, None] == class_id[None, :]
        matches = _Matches(overlaps(expected, boxes) * same_class)
        sure = confidence >= rules.high_confidence
        weak = ~sure & (confidence >= rules.low_confidence)
        confirmed = tracks["number"] != UNTRACKED
        matches.find(confirmed, sure, rules.min_overlap)
        matches.find(confirmed, weak, max(rules.min_overlap, _WEAK_OVERLAP))
        matches.find(~confirmed, sure, max(rules.min_overlap, _LONELY_OVERLAP))
        margin = min(_MOST_MARGIN, _MARGIN_PER_S * elapsed_s)
        matches.alike = overlaps(_wider(expected, margin), _wider(boxes, margin)) * same_class
        matches.find(np.ones(len(tracks), np.bool_), sure, max(rules.min_overlap, _LONELY_OVERLAP))

        track_of = matches.track_of
        seen = np.flatnonzero(track_of != _NONE)
        rows = track_of[seen]
        tracks["motion"][rows] = motion.corrected(tracks["motion"][rows], boxes[seen])
        tracks["sightings"][rows] += 1
        tracks["seen_ns"][rows] = at_ns
        new = np.flatnonzero(sure & (track_of == _NONE))
        track_of[new] = len(tracks) + np.arange(len(new))
        tracks = np.concatenate((tracks, _begun(boxes[new], class_id[new], at_ns)))
        self._confirm(tracks)
        numbers = np.where(track_of == _NONE, UNTRACKED, np.append(tracks["number"], UNTRACKED)[track_of])
        missed = tracks["seen_ns"] != at_ns
        tracks["motion"][missed] = motion.hold_size(tracks["motion"][missed])
        self._tracks = tracks[~missed | (tracks["number"] != UNTRACKED)]
        return numbers

    def _confirm(self, tracks: NDArray[np.void]) -> None:
        due = np.flatnonzero((tracks["number"] == UNTRACKED) & (tracks["sightings"] >= self._rules.confirm))
        tracks["number"][due] = self.given + 1 + np.arange(len(due))
        self.given += len(due)

    def _fresh(self, at_ns: int) -> NDArray[np.void]:
        """The tracks that were seen lately enough, or in the frame before, however long ago that was."""
        seen_ns, last_ns = self._tracks["seen_ns"], self._last_ns or at_ns
        fresh = self._tracks[seen_ns >= min(last_ns, at_ns - self._keep_ns)]
        if len(fresh) > 2 * MOST_TRACKED:
            fresh = fresh[np.sort(np.argsort(-fresh["seen_ns"], kind="stable")[: 2 * MOST_TRACKED])]
        kept: NDArray[np.void] = fresh
        return kept


class _Matches:
    """Which objects go with which tracks, found in rounds: what one round leaves, the next may take."""

    def __init__(self, alike: NDArray[np.float64]) -> None:
        self.alike = alike
        self._taken = np.zeros(alike.shape[0], np.bool_)
        self.track_of = np.full(alike.shape[1], _NONE, np.int64)

    def find(self, tracks: NDArray[np.bool_], objects: NDArray[np.bool_], least: float) -> None:
        """Pair these, where more alike than `least`, so that all pairs together are alike the most."""
        rows = np.flatnonzero(tracks & ~self._taken)
        columns = np.flatnonzero(objects & (self.track_of == _NONE))
        worth = self.alike[np.ix_(rows, columns)] - least
        for row, column in best_pairs(worth, choices=CHOICES):
            self._taken[rows[row]] = True
            self.track_of[columns[column]] = rows[row]


def _begun(boxes: NDArray[np.float64], class_id: NDArray[np.integer], at_ns: int) -> NDArray[np.void]:
    tracks = np.zeros(len(boxes), _TRACK)
    tracks["motion"] = motion.begin(boxes)
    tracks["class_id"] = class_id
    tracks["sightings"] = 1
    tracks["seen_ns"] = at_ns
    return tracks


def _wider(boxes: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Boxes that reach farther on each side by `margin` of their own side."""
    more = (boxes[:, 2:] - boxes[:, :2]) * margin
    return np.concatenate((boxes[:, :2] - more, boxes[:, 2:] + more), axis=1)


def _canonical(
    boxes: NDArray[np.float64], confidence: NDArray[np.float32], class_id: NDArray[np.integer]
) -> NDArray[np.intp]:
    """An order that depends on the objects alone: by falling confidence, then class, then place."""
    return np.lexsort((*boxes.T[::-1], class_id, -confidence))
