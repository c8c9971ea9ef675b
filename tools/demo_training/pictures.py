"""Rendered pictures with their truth, reduced to the detector's scale, in memory."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene

LONG_SIDE_PX = 320
# Camera formats, and how many of ten scenes have each.
_FORMATS = ((640, 480, 4), (800, 600, 1), (1280, 720, 4), (640, 360, 1))
# Scenes with these numbers above the run's seed are kept apart for the evaluation.
UNSEEN_OFFSET = 1_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A camera picture reduced to 320 pixels a row, not yet padded.

    `pixels`: uint8 `[h, 320, 3]`, BGR. `boxes`: float32 `[N, 4]`, x1, y1, x2, y2 in its pixels.
    `class_id`: int64 `[N]`.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    class_id: NDArray[np.int64]


def render_all(*, seed: int, scenes: int, pictures_per_scene: int, workers: int) -> Iterator[list[Picture]]:
    """The pictures of one scene after another, in an order that only the seed decides."""
    jobs = [(seed * 10_000 + index, _format(index), pictures_per_scene) for index in range(scenes)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_render_scene, jobs)


def _format(index: int) -> tuple[int, int]:
    tenth = index % 10
    for width, height, share in _FORMATS:
        if tenth < share:
            return width, height
        tenth -= share
    raise AssertionError("the shares of the formats add up to ten")


def _render_scene(job: tuple[int, tuple[int, int], int]) -> list[Picture]:
    scene_seed, (width_px, height_px), count = job
    cv2.setNumThreads(1)
    scene = ConveyorScene(width_px=width_px, height_px=height_px, seed=scene_seed, shuffled=True)
    scale = LONG_SIDE_PX / width_px
    size = (LONG_SIDE_PX, round(height_px * scale))
    pictures = []
    for number in range(count):
        truth = scene.truth(number)
        small = cv2.resize(scene.render(number), size, interpolation=cv2.INTER_LINEAR)
        pictures.append(
            Picture(
                pixels=np.asarray(small, np.uint8),
                boxes=(truth.boxes * scale).astype(np.float32),
                class_id=truth.class_id.astype(np.int64),
            )
        )
    return pictures


@dataclass(frozen=True, slots=True)
class Batch:
    """B pictures of one shape, with up to G parts each.

    `images`: float32 `[B, 3, H, W]`, RGB in 0..1. `boxes`: float32 `[B, G, 4]` in input pixels, zeros where
    a picture has fewer than G parts. `class_id`: int64 `[B, G]`. `present`: bool `[B, G]`.
    """

    images: NDArray[np.float32]
    boxes: NDArray[np.float32]
    class_id: NDArray[np.int64]
    present: NDArray[np.bool_]


def batches(pictures: list[Picture], *, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch of full batches, flipped and re-lit at random; all pictures of a batch have one shape.

    Half of the batches are padded to a square, half to the next multiple of 32, because the agent feeds both.
    """
    by_height: dict[int, list[int]] = {}
    for index in rng.permutation(len(pictures)):
        by_height.setdefault(pictures[index].pixels.shape[0], []).append(int(index))
    chunks = [
        indexes[start : start + size]
        for indexes in by_height.values()
        for start in range(0, len(indexes) - size + 1, size)
    ]
    for chunk in rng.permutation(len(chunks)):
        chosen = [pictures[index] for index in chunks[chunk]]
        height = chosen[0].pixels.shape[0]
        padded = LONG_SIDE_PX if rng.random() < 0.5 else -(-height // 32) * 32
        yield _batch(chosen, padded_height=padded, rng=rng)


def _batch(chosen: list[Picture], *, padded_height: int, rng: np.random.Generator) -> Batch:
    height, width = chosen[0].pixels.shape[:2]
    top = round((padded_height - height) / 2 - 0.1)
    most = max(1, *(len(picture.boxes) for picture in chosen))
    images = np.full((len(chosen), 3, padded_height, width), 114 / 255, np.float32)
    boxes = np.zeros((len(chosen), most, 4), np.float32)
    class_id = np.zeros((len(chosen), most), np.int64)
    present = np.zeros((len(chosen), most), np.bool_)
    for row, picture in enumerate(chosen):
        pixels, found = picture.pixels, picture.boxes.copy()
        if rng.random() < 0.5:
            pixels, found = pixels[:, ::-1], found * (-1, 1, -1, 1) + (width, 0, width, 0)
            found = found[:, [2, 1, 0, 3]]
        if rng.random() < 0.5:
            pixels, found = pixels[::-1], found * (1, -1, 1, -1) + (0, height, 0, height)
            found = found[:, [0, 3, 2, 1]]
        gain = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, (3, 1, 1))
        light = pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32) * (gain / 255).astype(np.float32)
        images[row, :, top : top + height] = np.minimum(light, 1.0)
        count = len(found)
        boxes[row, :count] = np.add(found, (0, top, 0, top))
        class_id[row, :count] = picture.class_id
        present[row, :count] = True
    return Batch(images=images, boxes=boxes, class_id=class_id, present=present)
