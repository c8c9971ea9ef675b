"""Detections drawn into a picture, for people."""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections

Colour = tuple[int, int, int]

# BGR, far apart in hue and bright enough for a dark scene; neighbouring ids do not look alike.
_PALETTE: Final[tuple[Colour, ...]] = (
    (56, 180, 75),
    (48, 120, 255),
    (230, 120, 30),
    (60, 200, 240),
    (200, 70, 200),
    (210, 200, 50),
    (80, 80, 230),
    (150, 220, 120),
    (180, 130, 255),
    (40, 160, 190),
)
_DARK: Final[Colour] = (20, 20, 20)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX

# Keypoints that the model itself doubts only confuse the eye.
_LEAST_POINT = 0.5

# Limbs between the 17 points of a person, in COCO's order of them.
_LIMBS: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
_PERSON_POINTS = 17


def draw(
    pixels: NDArray[np.uint8], detections: Detections, class_names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """A copy of a picture, uint8 `[height, width, 3]` BGR, with boxes, labels and keypoints.

    The weakest are drawn first, so that the strongest lie on top. Lines grow with the picture.
    """
    canvas = pixels.copy()
    thickness = max(round(max(pixels.shape[:2]) / 500), 1)
    for index in reversed(range(len(detections))):
        class_id = int(detections.class_id[index])
        colour = _PALETTE[class_id % len(_PALETTE)]
        x1, y1, x2, y2 = (round(float(side)) for side in detections.boxes[index])
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)
        if detections.keypoints is not None:
            _draw_points(canvas, detections.keypoints[index], colour, thickness)
        name = class_names.get(class_id, f"class-{class_id}")
        _draw_label(canvas, f"{name} {detections.confidence[index]:.2f}", (x1, y1), colour, thickness)
    return canvas


def _draw_points(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], colour: Colour, thickness: int
) -> None:
    places = [(round(float(x)), round(float(y))) for x, y, _ in points]
    sure = points[:, 2] >= _LEAST_POINT
    if len(points) == _PERSON_POINTS:
        for begin, end in _LIMBS:
            if sure[begin] and sure[end]:
                cv2.line(canvas, places[begin], places[end], colour, thickness, cv2.LINE_AA)
    for place, shown in zip(places, sure, strict=True):
        if shown:
            cv2.circle(canvas, place, 2 * thickness, _DARK, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(canvas, place, thickness, colour, cv2.FILLED, cv2.LINE_AA)


def _draw_label(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, thickness: int
) -> None:
    """The text above the corner on a ground of its own; inside the picture where there is no room."""
    scale = 0.3 + 0.2 * thickness
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    left = max(min(corner[0], canvas.shape[1] - width), 0)
    bottom = max(corner[1], height + below)
    cv2.rectangle(canvas, (left, bottom - height - below), (left + width, bottom), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom - below // 2), _FONT, scale, _DARK, thickness, cv2.LINE_AA)
