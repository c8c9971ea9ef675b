"""Whole models: what the agent finds in a picture beside what the reference found."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from tools.head_references.feeding import compare_feeding
from tools.head_references.storing import Expected


def picture(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Shapes in many colours on a sloping ground, BGR."""
    rng = np.random.default_rng(3)
    slope = np.linspace(40, 200, width_px)[None, :, None] * np.array([1.0, 0.8, 0.5])
    pixels = np.broadcast_to(slope, (height_px, width_px, 3)).astype(np.uint8).copy()
    for _ in range(12):
        centre = (int(rng.integers(width_px)), int(rng.integers(height_px)))
        colour = tuple(int(one) for one in rng.integers(0, 256, 3))
        cv2.circle(pixels, centre, int(rng.integers(8, height_px // 5)), colour, -1, cv2.LINE_AA)
        far = (centre[0] + width_px // 8, centre[1] + height_px // 10)
        cv2.rectangle(pixels, centre, far, colour[::-1], -1)
    return pixels


def compare_from_input(
    path: Path,
    pixels: NDArray[np.uint8],
    reference: NDArray[np.float32],
    detect: Callable[[NDArray[np.float32]], Expected],
    *,
    least: float,
) -> None:
    """Print how far the agent's input is from `reference`, `[1, 3, height, width]`, and what comes of it.

    `detect` is the reference's way from an input tensor to detections. It is given the agent's: a random
    network makes other boxes of a rounding in the picture.
    """
    model = load_model(name=path.stem, path=path)
    assert isinstance(model, OnnxDetector)  # noqa: S101 - a tool's own certainty
    height_px, width_px = reference.shape[2:]
    fed = compare_feeding(path.stem, model.head.feeding, (height_px, width_px), pixels, reference[0])
    compare(path, pixels, detect(fed), least=least)


def compare(path: Path, pixels: NDArray[np.uint8], expected: Expected, *, least: float) -> None:
    """Print how far the agent's detections are from the reference's, each from the nearest of its class."""
    model = load_model(name=path.stem, path=path)
    assert isinstance(model, OnnxDetector)  # noqa: S101 - a tool's own certainty
    (found,), _ = model.detect([Look(pixels, Thresholds(confidence=least))])
    apart_px, apart = 0.0, 0.0
    lost = 0
    for box, confidence, class_id in zip(expected.boxes, expected.confidence, expected.class_id, strict=True):
        same = np.flatnonzero(found.class_id == class_id)
        if not len(same):
            lost += 1
            continue
        distance = np.abs(found.boxes[same] - np.clip(box, 0, pixels.shape[1::-1] * 2)).max(axis=1)
        nearest = same[int(distance.argmin())]
        apart_px = max(apart_px, float(distance.min()))
        apart = max(apart, float(abs(found.confidence[nearest] - confidence)))
    print(
        f"{path.stem} {pixels.shape[0]}x{pixels.shape[1]}: {len(found)} found, "
        f"{len(expected.boxes)} expected, {lost} without a match, "
        f"boxes within {apart_px:.2g} px, confidences within {apart:.2g}"
    )
