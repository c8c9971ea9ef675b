"""People who cross a camera's picture, as boxes with known truth, and what a detector would make of them.

They walk at their own pace in changing directions, nearer ones hide farther ones, and who has left the
picture is somebody new when he comes back. The detector misses some, finds what is not there, and is unsure
of who is half hidden. The same seed gives the same sequence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 16 / 9
"""Of the picture, whose height is the unit of length."""

_SEEN_FROM: Final = 0.3
"""Less of a person than this is not seen, and not asked for."""


@dataclass(frozen=True, slots=True)
class Detector:
    """How bad it is: the share of people it misses, false boxes a frame, and the noise of a box's sides.

    `noise` is a standard deviation, as a fraction of the box's side.
    """

    misses: float = 0.1
    false_per_frame: float = 0.2
    noise: float = 0.03


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame: who is really where, and what was detected. Boxes are x1, y1, x2, y2 in frame heights."""

    at_ns: int
    people: NDArray[np.int64]
    truth: NDArray[np.float64]
    boxes: NDArray[np.float64]
    confidence: NDArray[np.float32]


@dataclass(slots=True)
class _Walker:
    person: int
    x: float
    y: float
    heading: float
    stature: float
    pace: float
    stands_s: float = 0.0

    def box(self) -> tuple[float, float, float, float]:
        """Feet at x, y; who is further down in the picture is nearer, and larger."""
        height = self.stature * (0.35 + 0.65 * self.y)
        return self.x - 0.2 * height, self.y - height, self.x + 0.2 * height, self.y

    def walk(self, elapsed_s: float, rng: Random) -> None:
        if self.stands_s > 0:
            self.stands_s -= elapsed_s
            return
        if rng.random() < 0.1 * elapsed_s:
            self.stands_s = rng.uniform(1.0, 4.0)
        self.heading += rng.gauss(0.0, 0.6) * elapsed_s**0.5
        speed = self.pace * self.stature * (0.35 + 0.65 * self.y)
        self.x += speed * cos(self.heading) * elapsed_s
        self.y += 0.4 * speed * sin(self.heading) * elapsed_s
        if not 0.35 < self.y < 1.0:
            self.heading = -self.heading
            self.y = min(max(self.y, 0.35), 1.0)

    @property
    def is_outside(self) -> bool:
        return not -0.1 < self.x < WIDTH + 0.1


def sequence(
    *,
    seed: int,
    people: int = 8,
    rate_hz: float = 10.0,
    duration_s: float = 30.0,
    detector: Detector | None = None,
) -> Iterator[Moment]:
    """The frames; the time between them varies by a fifth, as with a camera that shares its model."""
    rng, luck, detector = Random(seed), Random(seed + 1_000_000), detector or Detector()
    walkers = [_enters(number, rng, anywhere=True) for number in range(people)]
    at_s, known = 1000.0, people
    end_s = at_s + duration_s
    while at_s < end_s:
        boxes = np.array([walker.box() for walker in walkers])
        yield _moment(round(at_s * 1e9), walkers, boxes, detector, luck)
        elapsed_s = rng.uniform(0.8, 1.2) / rate_hz
        for index, walker in enumerate(walkers):
            walker.walk(elapsed_s, rng)
            if walker.is_outside:
                walkers[index] = _enters(known, rng, anywhere=False)
                known += 1
        at_s += elapsed_s


def _enters(person: int, rng: Random, *, anywhere: bool) -> _Walker:
    from_left = rng.random() < 0.5
    heading = rng.uniform(-0.5, 0.5) + (0.0 if from_left else pi)
    x = rng.uniform(0.1, WIDTH - 0.1) if anywhere else (-0.05 if from_left else WIDTH + 0.05)
    return _Walker(
        person,
        x,
        rng.uniform(0.4, 0.95),
        heading,
        stature=rng.uniform(0.22, 0.32),
        pace=rng.uniform(0.4, 1.0),
    )


def _moment(
    at_ns: int, walkers: list[_Walker], boxes: NDArray[np.float64], detector: Detector, luck: Random
) -> Moment:
    clipped = np.clip(boxes, 0.0, [WIDTH, 1.0, WIDTH, 1.0])
    visible = [_visible(index, boxes, clipped) for index in range(len(boxes))]
    shown = [index for index, share in enumerate(visible) if share >= _SEEN_FROM]
    found: list[tuple[NDArray[np.float64], float]] = []
    for index in shown:
        if luck.random() >= detector.misses:
            sure = 0.95 * visible[index] ** 0.7 + luck.gauss(0.0, 0.05)
            found.append((_jittered(clipped[index], detector.noise, luck), sure))
    false = detector.false_per_frame
    while luck.random() < false:
        false -= 1.0
        left, bottom, height = luck.uniform(0, WIDTH), luck.uniform(0.3, 1), luck.uniform(0.1, 0.4)
        box = np.array([left, bottom - height, left + 0.4 * height, bottom])
        found.append((np.clip(box, 0.0, [WIDTH, 1.0, WIDTH, 1.0]), luck.uniform(0.25, 0.7)))
    return Moment(
        at_ns=at_ns,
        people=np.array([walkers[index].person for index in shown], np.int64),
        truth=clipped[shown],
        boxes=np.array([box for box, _ in found]).reshape(-1, 4),
        confidence=np.clip(np.array([sure for _, sure in found]), 0.05, 0.99).astype(np.float32),
    )


def _visible(index: int, boxes: NDArray[np.float64], clipped: NDArray[np.float64]) -> float:
    """The share of a person's box that is in the picture and that no nearer one hides, on a grid."""
    x1, y1, x2, y2 = boxes[index]
    x, y = np.meshgrid(np.linspace(x1, x2, 12), np.linspace(y1, y2, 12))
    seen = (x >= 0) & (x <= WIDTH) & (y >= 0)
    for other, (left, top, right, bottom) in enumerate(clipped):
        if other != index and boxes[other, 3] > y2:
            seen &= (x < left) | (x > right) | (y < top) | (y > bottom)
    return float(seen.mean())


def _jittered(box: NDArray[np.float64], noise: float, luck: Random) -> NDArray[np.float64]:
    width, height = box[2:] - box[:2]
    moved = box + np.array([luck.gauss(0.0, noise * side) for side in (width, height, width, height)])
    jittered: NDArray[np.float64] = np.clip(moved, 0.0, [WIDTH, 1.0, WIDTH, 1.0])
    return jittered
