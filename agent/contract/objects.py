"""What a model found, as the objects of a message."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.contract.payloads import Object
from agent.domain.detections import Detections
from agent.domain.scene import Sighting

# The contract promises 8 and 7; one more keeps the promise through rounding, and 17 would double a message.
_BOX_DIGITS = 9
_CONFIDENCE_DIGITS = 8


def class_name(class_names: Mapping[int, str], class_id: int) -> str:
    """What a class is called; one without a name ``class-`` and its number."""
    return class_names.get(class_id, f"class-{class_id}")


def to_objects(
    detections: Detections,
    class_names: Mapping[int, str],
    *,
    width_px: int,
    height_px: int,
    sightings: Sequence[Sighting] | None = None,
) -> tuple[Object, ...]:
    """The objects in their order; boxes and keypoints as fractions of a frame of this size, clipped to it.

    `sightings`: the same objects in a scene, whose tracks and zones are told.
    """
    if not len(detections):
        return ()
    boxes = _fractions(detections.boxes, [width_px, height_px] * 2)
    confidences = _rounded(detections.confidence.astype(np.float64), _CONFIDENCE_DIGITS).tolist()
    keypoints = _keypoints(detections, width_px=width_px, height_px=height_px)
    return tuple(
        Object(
            class_name=class_name(class_names, class_id),
            class_id=class_id,
            confidence=confidence,
            box=tuple(box),
            track=None if sighting is None else sighting.track,
            zones=(tuple(sighting.zones) or None) if sighting is not None else None,
            keypoints=points,
        )
        for class_id, confidence, box, points, sighting in zip(
            detections.class_id.tolist(),
            confidences,
            boxes.tolist(),
            keypoints,
            [None] * len(detections) if sightings is None else sightings,
            strict=True,
        )
    )


def _keypoints(
    detections: Detections, *, width_px: int, height_px: int
) -> list[tuple[tuple[float, float, float], ...] | None]:
    if detections.keypoints is None:
        return [None] * len(detections)
    fractions = _fractions(detections.keypoints[..., :2], [width_px, height_px])
    confidences = _rounded(detections.keypoints[..., 2], _CONFIDENCE_DIGITS)
    together = np.concatenate([fractions, confidences[..., None]], axis=-1)
    return [tuple((x, y, confidence) for x, y, confidence in points) for points in together.tolist()]


def _fractions(pixels: NDArray[np.float64], sides_px: list[int]) -> NDArray[np.float64]:
    return _rounded(np.clip(pixels / np.array(sides_px, np.float64), 0.0, 1.0), _BOX_DIGITS)


def _rounded(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """`values` in 0..1 to so many significant digits, so that JSON writes no more."""
    magnitude = np.floor(np.log10(np.maximum(values, 1e-9)))
    scale = 10.0 ** (digits - 1 - magnitude)
    rounded: NDArray[np.float64] = np.rint(values * scale) / scale
    return rounded
