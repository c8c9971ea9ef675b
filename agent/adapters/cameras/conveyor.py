"""Parts on a conveyor belt as a camera above it would see them, and what is truly there.

Every picture is a pure function of `(seed, number, size)`: whoever reads a frame's number in a message can
ask for the truth of that frame again.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor_backdrop import (
    NOISE_STARTS,
    draw_belt,
    draw_light_map,
    draw_noise,
    draw_rail,
)
from agent.adapters.cameras.conveyor_parts import CLASS_NAMES, Lamp, Sprite, draw_clutter, draw_part

__all__ = ["CLASS_NAMES", "ConveyorScene", "Truth"]

# A part of which less is to be seen, because of the border, a rail or what lies on it, is not in the truth.
MIN_VISIBLE = 0.35

_LOOKS_PER_CLASS = 10
_CLUTTER_LOOKS = 14
_PITCH_UNITS = 92  # the belt is divided into stretches this long, each with its own few things
_RAIL_UNITS = 20
_SPEED_UNITS = 4
_SHUFFLE_STRETCHES = 64  # further apart than any picture is wide: no two shuffled pictures share a stretch


@dataclass(frozen=True, slots=True)
class Truth:
    """What is to be seen in one picture, N parts.

    `boxes`: float64 `[N, 4]`, x1, y1, x2, y2 in pixels, around the visible pixels of each part: what the
    border, a rail or another thing hides is not inside. `class_id`: int32 `[N]`, an index of `CLASS_NAMES`.
    """

    boxes: NDArray[np.float64]
    class_id: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sprite with its upper left corner in the picture; `class_id` is -1 for clutter."""

    sprite: Sprite
    class_id: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What changes with time: the lamps, as a factor; blur by focus (sigma) and by motion (width)."""

    brightness: float
    defocus_px: float
    smear_px: int


class ConveyorScene:
    """A belt with bolts, nuts, washers and gears that moves from left to right, a few pixels a picture.

    With `shuffled`, successive numbers show unrelated stretches of the belt under unrelated conditions, as
    training wants it. An instance holds only what it drew when it was made, so any thread may use it.

    Raises:
        ValueError: the picture would be narrower or lower than 64 pixels.
    """

    def __init__(self, *, width_px: int, height_px: int, seed: int, shuffled: bool = False) -> None:
        if min(width_px, height_px) < 64:
            raise ValueError(
                f"a scene of {width_px}x{height_px} is too small: both sides must be at least 64"
            )
        self.width_px, self.height_px = width_px, height_px
        self._seed, self._shuffled = seed, shuffled
        self._scale = min(width_px, height_px) / 480
        self._rail_px = max(2, round(_RAIL_UNITS * self._scale))
        self._pitch_px = max(8, round(_PITCH_UNITS * self._scale))
        self._speed_px = max(1, round(_SPEED_UNITS * self._scale))
        rng = np.random.default_rng((seed, 1))
        turn = rng.uniform(0, 2 * np.pi)
        lamp = Lamp(x=float(np.cos(turn)), y=float(np.sin(turn)), height=float(rng.uniform(0.9, 1.6)))
        self._density = float(rng.uniform(0.75, 1.2)) if shuffled else 1.0
        self._looks = [
            [draw_part(class_id=c, scale=self._scale, lamp=lamp, rng=rng) for _ in range(_LOOKS_PER_CLASS)]
            for c in range(len(CLASS_NAMES))
        ]
        self._clutter = [draw_clutter(scale=self._scale, lamp=lamp, rng=rng) for _ in range(_CLUTTER_LOOKS)]
        self._belt = draw_belt(width_px, height_px, self._scale, rng)
        self._rail = draw_rail(width_px, self._rail_px, rng)
        self._light = draw_light_map(width_px, height_px, rng)
        self._noise = draw_noise(width_px * height_px * 3, rng)

    def render(self, number: int) -> NDArray[np.uint8]:
        """Picture `number` (from 0 on): uint8 `[height, width, 3]`, BGR, contiguous, the caller's own."""
        conditions = self._conditions(number)
        picture = self._moved_belt(number)
        for placed in self._things(number):
            _lay(picture, placed)
        picture[: self._rail_px] = self._rail
        picture[-self._rail_px :] = self._rail[::-1]
        if conditions.smear_px > 1:
            picture = np.asarray(cv2.blur(picture, (conditions.smear_px, 1)), np.uint8)
        if conditions.defocus_px > 0.3:
            side = 3 if conditions.defocus_px < 0.8 else 5
            picture = np.asarray(cv2.GaussianBlur(picture, (side, side), conditions.defocus_px), np.uint8)
        cv2.multiply(picture, self._light, dst=picture, scale=conditions.brightness / 160)
        start = int(np.random.default_rng((self._seed, 2, number)).integers(NOISE_STARTS))
        grain = self._noise[:, start : start + picture.size].reshape(2, *picture.shape)
        cv2.add(picture, grain[0], dst=picture)
        cv2.subtract(picture, grain[1], dst=picture)
        return picture

    def truth(self, number: int) -> Truth:
        """The parts of picture `number` that show at least `MIN_VISIBLE` of themselves."""
        things = self._things(number)
        owner = np.full((self.height_px, self.width_px), -1, np.int16)
        for index, placed in enumerate(things):
            window, inner = _overlap(placed, owner.shape)
            owner[window][placed.sprite.mask[inner]] = index
        owner[: self._rail_px] = -1
        owner[-self._rail_px :] = -1
        boxes, classes = [], []
        for index, placed in enumerate(things):
            window, _ = _overlap(placed, owner.shape)
            seen = owner[window] == index
            if placed.class_id < 0 or np.count_nonzero(seen) < MIN_VISIBLE * placed.sprite.area_px:
                continue
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            top, left = window[0].start, window[1].start
            boxes.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
            classes.append(placed.class_id)
        return Truth(boxes=np.array(boxes, np.float64).reshape(-1, 4), class_id=np.array(classes, np.int32))

    def _travel_px(self, number: int) -> int:
        if not self._shuffled:
            return number * self._speed_px
        jitter = int(np.random.default_rng((self._seed, 3, number)).integers(self._pitch_px))
        return number * _SHUFFLE_STRETCHES * self._pitch_px + jitter

    def _things(self, number: int) -> list[_Placed]:
        """What lies on the visible stretch of the belt, the lowest first."""
        travel, margin = self._travel_px(number), 2 * self._pitch_px
        first = (travel - margin) // self._pitch_px
        last = (travel + self.width_px + margin) // self._pitch_px
        placed: list[_Placed] = []
        for stretch in range(first, last + 1):
            placed += self._on_stretch(stretch, right_px=travel + self.width_px)
        return [p for p in placed if _is_in_view(p, self.width_px)]

    def _on_stretch(self, stretch: int, *, right_px: int) -> list[_Placed]:
        # Stretches before the first picture have negative numbers, which a seed may not.
        rng = np.random.default_rng((self._seed, 4, stretch + 1024))
        count = int(rng.poisson(1.55 * self._density))
        found: list[_Placed] = []
        for _ in range(min(count, 4) + int(rng.random() < 0.4)):
            along, across, kind, look, litter = rng.random(5)
            centre_x = right_px - (stretch * self._pitch_px + int(along * self._pitch_px))
            edge = self._rail_px + 24 * self._scale
            centre_y = int(edge + across * (self.height_px - 2 * edge))
            class_id = -1 if litter < 0.22 else int(kind * len(CLASS_NAMES))
            looks = self._clutter if class_id < 0 else self._looks[class_id]
            sprite = looks[int(look * len(looks))]
            half = sprite.mask.shape[0] // 2
            found.append(_Placed(sprite=sprite, class_id=class_id, left=centre_x - half, top=centre_y - half))
        return found

    def _conditions(self, number: int) -> _Conditions:
        if self._shuffled:
            rng = np.random.default_rng((self._seed, 5, number))
            return _Conditions(
                brightness=float(rng.uniform(0.5, 1.35)),
                defocus_px=float(rng.choice([0.0, rng.uniform(0.3, 1.4)])) * self._scale,
                smear_px=int(rng.integers(1, 6) * self._scale),
            )
        # Lamps that drift, a lens that breathes: periods of some hundred pictures, not in step.
        slow, slower = np.sin(number / 97.0 + self._seed), np.sin(number / 163.0 + 2.0 * self._seed)
        return _Conditions(
            brightness=float(0.95 + 0.22 * slow),
            defocus_px=float(max(0.0, slower)) * self._scale,
            smear_px=max(1, self._speed_px // 2),
        )

    def _moved_belt(self, number: int) -> NDArray[np.uint8]:
        shift = self._travel_px(number) % self.width_px
        picture = np.empty_like(self._belt)
        picture[:, shift:] = self._belt[:, : self.width_px - shift]
        picture[:, :shift] = self._belt[:, self.width_px - shift :]
        return picture


def _is_in_view(placed: _Placed, width_px: int) -> bool:
    return placed.left < width_px and placed.left + placed.sprite.mask.shape[1] > 0


def _overlap(placed: _Placed, picture: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture that the sprite covers, and the part of the sprite that it shows there."""
    height, width = placed.sprite.mask.shape
    top, left = max(placed.top, 0), max(placed.left, 0)
    bottom, right = min(placed.top + height, picture[0]), min(placed.left + width, picture[1])
    inner = (
        slice(top - placed.top, bottom - placed.top),
        slice(left - placed.left, right - placed.left),
    )
    return (slice(top, bottom), slice(left, right)), inner


def _lay(picture: NDArray[np.uint8], placed: _Placed) -> None:
    window, inner = _overlap(placed, picture.shape)
    below = cv2.multiply(picture[window], placed.sprite.keep[inner], scale=1 / 255)
    picture[window] = cv2.add(below, placed.sprite.body[inner])
