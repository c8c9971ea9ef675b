"""What stays behind and over the parts of the rendered conveyor: belt, rails, light, sensor noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

# A picture starts its noise at one of so many places.
NOISE_STARTS = 4096
_NOISE_BLOCK = 1 << 16
_BELTS_BGR = ((58, 76, 46), (48, 47, 46), (112, 100, 84), (150, 152, 150), (120, 140, 150), (86, 62, 44))


def draw_belt(width_px: int, height_px: int, scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One turn of the belt, uint8 `[height, width, 3]`: weave, wear, scratches, a seam at its ends."""
    colour = np.array(_BELTS_BGR[int(rng.integers(len(_BELTS_BGR)))], np.float32) * rng.uniform(0.8, 1.2)
    down, across = (axis / max(scale, 0.3) for axis in _axes(width_px, height_px))
    weave = np.sin((across + down) * 2 * np.pi / 7) * np.sin((across - down) * 2 * np.pi / 7)
    worn = cv2.resize(
        rng.normal(0, 1, (6, 8)).astype(np.float32), (width_px, height_px), interpolation=cv2.INTER_CUBIC
    )
    grain = rng.normal(0, 1, (height_px, width_px)).astype(np.float32)
    tone = 1 + float(rng.uniform(0.01, 0.06)) * weave + 0.05 * worn + float(rng.uniform(0.02, 0.06)) * grain
    belt = _tinted(tone, colour)
    for _ in range(int(rng.integers(4, 24))):
        x, y = int(rng.integers(width_px)), int(rng.integers(height_px))
        end = (x + int(rng.normal(0, 60 * scale)), y + int(rng.normal(0, 8 * scale)))
        cv2.line(belt, (x, y), end, (colour * rng.uniform(0.7, 1.35)).tolist(), 1, cv2.LINE_AA)
    seam = max(1, round(3 * scale))
    belt[:, :seam] = belt[:, :seam] // 2
    return belt


def draw_rail(width_px: int, rail_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The upper guide rail: uint8 `[rail, width, 3]`, rounded and brushed."""
    round_light = 0.45 + 0.55 * np.sin(np.linspace(0.15, 0.98, rail_px) * np.pi)[:, None]
    brushed = cv2.blur(rng.normal(1, 0.25, (rail_px, width_px)), (31, 1))
    metal = np.array((168, 166, 160)) * rng.uniform(0.6, 1.1)
    return _tinted(round_light * brushed, metal)


def draw_light_map(width_px: int, height_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """How much of the light each pixel gets, uint8 `[height, width, 3]`, 160 for all of it."""
    down, across = _axes(width_px, height_px)
    u, v = across / width_px - rng.uniform(0.2, 0.8), down / height_px - rng.uniform(0.2, 0.8)
    spot = float(rng.uniform(0.15, 0.45)) * np.exp(-(u**2 + v**2) / 0.18)
    colour = np.array((rng.uniform(0.85, 1.05), 1.0, rng.uniform(0.9, 1.08)))
    return _tinted((0.72 + spot) * 160, colour)


def draw_noise(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sensor noise, uint8 `[2, count + NOISE_STARTS]`: what to add, and what to take away."""
    level = float(rng.uniform(1.5, 6))
    noise = np.empty((2, count + NOISE_STARTS), np.uint8)
    for start in range(0, noise.shape[1], _NOISE_BLOCK):
        block = noise[:, start : start + _NOISE_BLOCK]
        drawn = rng.normal(0, level, block.shape[1])
        block[0], block[1] = np.clip(drawn, 0, 255), np.clip(-drawn, 0, 255)
    return noise


def _axes(width_px: int, height_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows `[height, 1]` and columns `[1, width]`, to be broadcast."""
    return np.arange(height_px, dtype=np.float32)[:, None], np.arange(width_px, dtype=np.float32)[None]


def _tinted(tone: NDArray[np.floating], colour: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A tone of each pixel in a colour, a channel at a time: whole float pictures would be the peak."""
    picture = np.empty((*tone.shape, 3), np.uint8)
    for channel in range(3):
        picture[..., channel] = np.clip(tone * colour[channel], 0, 255)
    return picture
