"""Parts and clutter of the rendered conveyor, drawn once as sprites that cost little to lay on a picture.

Each shape is a signed distance (positive inside) and a height; normals of the height under one lamp give
the shading, so a turned part is lit as a turned part would be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]

CLASS_NAMES = ("bolt", "nut", "washer", "gear")
CLUTTER_NAMES = ("stain", "swarf", "paper", "pin", "cable")

_OVERSAMPLING = 2
_METALS_BGR = {
    "steel": (186, 182, 178),
    "zinc": (205, 200, 182),
    "brass": (92, 172, 206),
    "copper": (88, 128, 196),
    "blued": (128, 92, 66),
    "black oxide": (62, 60, 60),
    "dull steel": (132, 130, 128),
}


@dataclass(frozen=True, slots=True)
class Sprite:
    """A body and its shadow: `picture = picture * keep / 255 + body`.

    `keep`, `body`: uint8 `[h, w, 3]`, BGR. `mask`: bool `[h, w]`, true where the body covers more than half
    of a pixel; the shadow is outside of it. `area_px` counts the mask.
    """

    keep: NDArray[np.uint8]
    body: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    area_px: int


@dataclass(frozen=True, slots=True)
class Lamp:
    """Where the light comes from: `x`, `y` in the picture's plane (y down), both in -1..1, and how high."""

    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class _Shape:
    """`distance`: pixels to the outline, positive inside. `height`: pixels above the belt."""

    distance: Plane
    height: Plane


def draw_part(*, class_id: int, scale: float, lamp: Lamp, rng: np.random.Generator) -> Sprite:
    """One part of random size, turn and metal; `scale` is pixels per unit (a nut is about 60 units wide)."""
    draw, smallest, largest = _PARTS[class_id]
    radius = float(rng.uniform(smallest, largest)) * scale * _OVERSAMPLING
    x, y = _turned_grid(reach=radius, scale=scale, angle=float(rng.uniform(0.0, 2.0 * np.pi)))
    shape = draw(x, y, radius, rng)
    metals = list(_METALS_BGR.values())
    tint = (
        np.array(metals[int(rng.integers(len(metals)))])
        * rng.uniform(0.85, 1.12)
        * rng.uniform(0.95, 1.05, 3)
    )
    return _lit(shape, tint=tint.astype(np.float32), gloss=float(rng.uniform(30, 120)), lamp=lamp, rng=rng)


def draw_clutter(*, scale: float, lamp: Lamp, rng: np.random.Generator) -> Sprite:
    """Something on the belt that is no part: oil, swarf, paper, a pin without a head, a piece of cable."""
    kind = CLUTTER_NAMES[int(rng.integers(len(CLUTTER_NAMES)))]
    radius = float(rng.uniform(22, 52)) * scale * _OVERSAMPLING
    x, y = _turned_grid(reach=radius, scale=scale, angle=float(rng.uniform(0.0, 2.0 * np.pi)))
    if kind == "stain":
        return _stain(_blob(x, y, radius, rng), rng)
    if kind == "pin":
        shape, tint, gloss = _pin(x, y, radius), np.array(_METALS_BGR["steel"], np.float32), 90.0
    elif kind == "paper":
        shape, tint, gloss = _scrap(x, y, radius, rng), rng.uniform(150, 235, 3).astype(np.float32), 0.0
    elif kind == "swarf":
        shape, tint, gloss = _swarf(x, y, radius, rng), np.array((190, 188, 186), np.float32), 120.0
    else:
        shape, tint, gloss = _cable(x, y, radius, rng), rng.uniform(30, 200, 3).astype(np.float32), 40.0
    return _lit(shape, tint=tint, gloss=gloss, lamp=lamp, rng=rng)


# --- parts --------------------------------------------------------------------------------------------


def _bolt(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    shaft = radius * float(rng.uniform(0.17, 0.24))
    head_long, head_half = shaft * float(rng.uniform(1.1, 1.5)), shaft * float(rng.uniform(1.75, 2.1))
    head_end, pitch = -radius + head_long, shaft * float(rng.uniform(0.38, 0.55))
    thread_from = head_end + float(rng.uniform(0.0, 0.45)) * (radius - head_end)
    in_thread = np.clip((x - thread_from) * 0.5, 0, 1)
    wave = np.sin(2 * np.pi * (x + 0.25 * y) / pitch) * in_thread
    # A lighter, chamfered tip; the thread's crests show in the outline.
    outline = shaft * (0.97 + 0.05 * wave) - np.clip(x - (radius - 0.5 * shaft), 0, None) * 0.8
    shaft_in = np.minimum(outline - np.abs(y), np.minimum(radius - x, x + radius - 0.5 * head_long))
    round_height = np.sqrt(np.clip(shaft**2 - y**2, 0, None)) + 0.16 * pitch * wave
    head_in = np.minimum(head_half - np.abs(y), np.minimum(x + radius, head_end - x))
    # A hexagon seen from its side: one facet faces the lens, two fall away.
    facets = head_half - 0.58 * np.clip(np.abs(y) - 0.5 * head_half, 0, None)
    head_height = facets + _bevel(head_in, 0.22 * head_half)
    in_head = head_in > 0
    return _Shape(
        distance=np.maximum(shaft_in, head_in),
        height=np.where(in_head, head_height, np.where(shaft_in > 0, round_height, 0)).astype(np.float32),
    )


def _nut(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    flat = radius * 0.866
    across = np.maximum(np.abs(y), np.maximum(np.abs(0.866 * x + 0.5 * y), np.abs(0.866 * x - 0.5 * y)))
    from_centre = np.hypot(x, y)
    hole = radius * float(rng.uniform(0.42, 0.52))
    distance = np.minimum(flat - across, from_centre - hole)
    chamfer = np.minimum((radius * 1.06 - from_centre) * 0.55, (from_centre - hole * 0.9) * 0.9)
    height = np.minimum(_bevel(distance, 0.12 * radius) + 0.12 * radius, np.clip(chamfer, 0, 0.2 * radius))
    return _Shape(distance=distance, height=height.astype(np.float32))


def _washer(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    from_centre = np.hypot(x, y)
    hole = radius * float(rng.uniform(0.42, 0.62))
    distance = np.minimum(radius - from_centre, from_centre - hole)
    return _Shape(distance=distance, height=_bevel(distance, 0.07 * radius))


def _gear(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    teeth = int(rng.integers(12, 23))
    root = radius * (1.0 - float(rng.uniform(2.0, 2.5)) / teeth)
    from_centre, turn = np.hypot(x, y), np.arctan2(y, x)
    tooth = np.clip(0.5 + 1.3 * np.cos(teeth * turn), 0, 1)
    rim = root + (radius - root) * tooth
    bore, hub = radius * float(rng.uniform(0.13, 0.22)), radius * float(rng.uniform(0.30, 0.40))
    distance = np.minimum(rim - from_centre, from_centre - bore)
    holes = int(rng.choice([0, 0, 4, 5, 6]))
    if holes:
        ring, size = (hub + root) * 0.5, (root - hub) * 0.27
        sector = (turn % (2 * np.pi / holes)) - np.pi / holes
        from_hole = np.hypot(from_centre * np.cos(sector) - ring, from_centre * np.sin(sector))
        distance = np.minimum(distance, from_hole - size)
    web = 0.05 * radius * np.clip((from_centre - root * 0.86) * 0.4, 0, 1)
    raised = 0.10 * radius * np.clip((hub - from_centre) * 0.4, 0, 1)
    return _Shape(
        distance=distance, height=(_bevel(distance, 0.05 * radius) + web + raised).astype(np.float32)
    )


_PARTS: tuple[tuple[Callable[[Plane, Plane, float, np.random.Generator], _Shape], float, float], ...] = (
    (_bolt, 46, 66),
    (_nut, 25, 36),
    (_washer, 24, 36),
    (_gear, 36, 54),
)


# --- clutter ------------------------------------------------------------------------------------------


def _pin(x: Plane, y: Plane, radius: float) -> _Shape:
    thick = 0.16 * radius
    distance = np.minimum(thick - np.abs(y), radius - np.abs(x))
    return _Shape(distance=distance, height=np.sqrt(np.clip(thick**2 - y**2, 0, None)).astype(np.float32))


def _scrap(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    distance = np.full_like(x, radius)
    for turn in np.linspace(0, 2 * np.pi, 5, endpoint=False) + rng.uniform(-0.4, 0.4, 5):
        side = radius * float(rng.uniform(0.4, 0.8))
        distance = np.minimum(distance, side - (x * np.cos(turn) + y * np.sin(turn)))
    crease = 0.06 * np.abs(x * float(rng.uniform(0.4, 1)) + y)
    return _Shape(distance=distance, height=crease.astype(np.float32))


def _swarf(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    loops, long, wide = int(rng.integers(2, 6)), radius * 0.8, radius * float(rng.uniform(0.15, 0.35))
    t = np.linspace(-1, 1, 30 * loops)
    along = long * t + wide * 0.6 * np.cos(loops * np.pi * t)
    return _ribbon(x, y, np.stack([along, wide * np.sin(loops * np.pi * t)], 1), thick=radius * 0.045)


def _cable(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> _Shape:
    t = np.linspace(-1, 1, 40)
    bend = float(rng.uniform(0.1, 0.5)) * radius
    line = np.stack([0.85 * radius * t, bend * np.sin(float(rng.uniform(1.5, 4)) * t)], 1)
    return _ribbon(x, y, line, thick=radius * float(rng.uniform(0.06, 0.1)))


def _blob(x: Plane, y: Plane, radius: float, rng: np.random.Generator) -> Plane:
    turn, rim = np.arctan2(y, x), np.full_like(x, 0.7)
    for wave, shift in enumerate(rng.uniform(0, 2 * np.pi, 4), start=2):
        rim += 0.25 / wave * np.sin(wave * turn + shift)
    return rim * radius - np.hypot(x, y)


def _ribbon(x: Plane, y: Plane, line: NDArray[np.float64], *, thick: float) -> _Shape:
    nearest = np.full(x.shape, np.inf, np.float32)
    for px, py in line:
        np.minimum(nearest, (x - np.float32(px)) ** 2 + (y - np.float32(py)) ** 2, out=nearest)
    distance = thick - np.sqrt(nearest)
    height = np.sqrt(np.clip(thick**2 - nearest, 0, None))
    return _Shape(distance=distance.astype(np.float32), height=height.astype(np.float32))


# --- from a shape to a sprite -------------------------------------------------------------------------


def _turned_grid(*, reach: float, scale: float, angle: float) -> tuple[Plane, Plane]:
    """The part's own coordinates at each pixel of an even-sided canvas, with room for its shadow."""
    half = _OVERSAMPLING * int(np.ceil(reach / _OVERSAMPLING * 1.12 + 9 * scale + 2))
    axis = np.arange(-half, half, dtype=np.float32) + 0.5
    across, down = np.meshgrid(axis, axis)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return across * cos + down * sin, down * cos - across * sin


def _bevel(distance: Plane, width: float) -> Plane:
    """Height of an edge rounded over `width` pixels."""
    t = np.clip(distance / width, 0, 1)
    return np.asarray(width * np.sqrt(t * (2 - t)), np.float32)


def _lit(
    shape: _Shape, *, tint: NDArray[np.float32], gloss: float, lamp: Lamp, rng: np.random.Generator
) -> Sprite:
    height = cv2.GaussianBlur(shape.height.astype(np.float32), (3, 3), 0)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    length = np.sqrt(1 + slope_x**2 + slope_y**2)
    towards = np.array((lamp.x, lamp.y, lamp.height)) / np.linalg.norm((lamp.x, lamp.y, lamp.height))
    facing = (towards[2] - slope_x * towards[0] - slope_y * towards[1]) / length
    diffuse = np.clip(facing, 0, 1)
    half_way = np.array((towards[0], towards[1], towards[2] + 1))
    half_way /= np.linalg.norm(half_way)
    mirror = np.clip((half_way[2] - slope_x * half_way[0] - slope_y * half_way[1]) / length, 0, 1) ** 24
    grain = cv2.blur(rng.normal(0, 0.28, shape.distance.shape).astype(np.float32), (9, 1))
    light = (0.28 + 0.80 * diffuse) * (1 + grain)
    colour = tint * light[..., None] + gloss * mirror[..., None]
    alpha = np.clip(shape.distance + 0.5, 0, 1).astype(np.float32)
    shift = np.array([[1, 0, -3.0 * lamp.x * _OVERSAMPLING], [0, 1, -3.0 * lamp.y * _OVERSAMPLING]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), (0, 0), 3.0)
    keep = (1 - alpha) * (1 - 0.5 * shadow)
    return _sprite(keep[..., None].repeat(3, 2), np.clip(colour, 0, 255) * alpha[..., None], alpha)


def _stain(inside: Plane, rng: np.random.Generator) -> Sprite:
    """Oil: it only darkens, and it covers nothing."""
    depth = cv2.GaussianBlur(np.clip(inside + 0.5, 0, 1).astype(np.float32), (0, 0), 2.0)
    keep = 1 - depth[..., None] * rng.uniform(0.25, 0.6) * np.array((1.0, 0.95, 0.9))
    return _sprite(keep, np.zeros_like(keep), np.zeros_like(depth))


def _sprite(keep: NDArray[np.floating], body: NDArray[np.floating], alpha: Plane) -> Sprite:
    mask = _reduced(alpha) > 0.5
    return Sprite(
        keep=np.rint(_reduced(keep.astype(np.float32)) * 255).astype(np.uint8),
        body=np.rint(_reduced(body.astype(np.float32))).astype(np.uint8),
        mask=mask,
        area_px=int(np.count_nonzero(mask)),
    )


def _reduced(plane: Plane) -> Plane:
    side = plane.shape[0] // _OVERSAMPLING
    return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA), np.float32)
