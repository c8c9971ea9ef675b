"""What an ONNX file says of itself, read strictly: a wrong value is refused, an absent one is None.

Detectors: `task, names, imgsz, stride, kpt_shape, end2end, version`, as Ultralytics writes them (Python
literals) or as JSON. Anomaly models: `window, channels, rate_hz, mean, std, threshold, hop`, as JSON.
"""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent.vision.letterbox import Size

Task = Literal["detect", "pose", "anomaly"]

DEFAULT_STRIDE = 32
_TASKS: tuple[Task, ...] = ("detect", "pose", "anomaly")

# Python's parser needs stack and memory in proportion to what it reads, and a model may come from anywhere.
_LONGEST_LITERAL = 262_144


@dataclass(frozen=True, slots=True)
class DetectorMetadata:
    """What a detector's file says. `keypoint_shape`: K points of 2 or 3 numbers."""

    class_names: Mapping[int, str] | None
    input_size: Size | None
    stride: int
    keypoint_shape: tuple[int, int] | None
    end_to_end: bool


@dataclass(frozen=True, slots=True)
class AnomalyMetadata:
    """What an anomaly model's file says. `mean` and `std` have one number a channel, in sensor units."""

    window: int
    hop: int
    channels: tuple[str, ...]
    rate_hz: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    threshold: float


def read_task(said: Mapping[str, str]) -> Task | None:
    """What the model is for, or None where the file does not say.

    Raises:
        ValueError: a task that is not served here.
    """
    task = said.get("task")
    if task is None:
        return None
    for known in _TASKS:
        if task == known:
            return known
    raise ValueError(f"its task is {task!r}; served are {', '.join(_TASKS)}")


def read_detector(said: Mapping[str, str]) -> DetectorMetadata:
    """Raises: ValueError (a value is there and wrong)."""
    stride = _literal(said, "stride")
    stride = max(stride) if isinstance(stride, list | tuple) and stride else stride
    if stride is not None and not _is_count(stride):
        raise ValueError(f"metadata stride is {said['stride']!r}; a whole number such as 32 is wanted")
    return DetectorMetadata(
        class_names=_class_names(said),
        input_size=_input_size(said),
        stride=stride if stride is not None else DEFAULT_STRIDE,
        keypoint_shape=_keypoint_shape(said),
        end_to_end=said.get("end2end", "").strip().lower() == "true",
    )


def read_anomaly(said: Mapping[str, str]) -> AnomalyMetadata:
    """Raises: ValueError (a value is wrong or missing)."""
    missing = [
        key for key in ("window", "channels", "rate_hz", "mean", "std", "threshold") if key not in said
    ]
    if missing:
        raise ValueError(f"an anomaly model's metadata must have {', '.join(missing)}")
    channels = _literal(said, "channels")
    if (
        not isinstance(channels, list)
        or not channels
        or not all(isinstance(name, str) and name for name in channels)
        or len(set(channels)) != len(channels)
    ):
        raise ValueError(f"metadata channels is {said['channels']!r}; a JSON list of names is wanted")
    window, hop = _literal(said, "window"), _literal(said, "hop")
    if not _is_count(window):
        raise ValueError(f"metadata window is {said['window']!r}; a number of samples is wanted")
    if hop is not None and not _is_count(hop):
        raise ValueError(f"metadata hop is {said['hop']!r}; a number of samples is wanted")
    std = _numbers(said, "std", len(channels))
    if min(std) <= 0:
        raise ValueError(f"metadata std is {said['std']!r}; every value must be above 0")
    rate_hz = _number(said, "rate_hz")
    if rate_hz <= 0:
        raise ValueError(f"metadata rate_hz is {said['rate_hz']!r}; it must be above 0")
    return AnomalyMetadata(
        window=window,
        hop=hop if hop is not None else max(window // 2, 1),
        channels=tuple(channels),
        rate_hz=rate_hz,
        mean=_numbers(said, "mean", len(channels)),
        std=std,
        threshold=_number(said, "threshold"),
    )


def _class_names(said: Mapping[str, str]) -> Mapping[int, str] | None:
    names = _literal(said, "names")
    if names is None:
        return None
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    try:
        # JSON has no integer keys.
        by_id = {int(key): str(name) for key, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        by_id = {}
    if not by_id or sorted(by_id) != list(range(len(by_id))):
        raise ValueError("metadata names is no list of names nor a mapping of ids 0, 1, 2, … to names")
    return dict(sorted(by_id.items()))


def _input_size(said: Mapping[str, str]) -> Size | None:
    sides = _literal(said, "imgsz")
    if sides is None:
        return None
    if _is_count(sides):
        sides = [sides, sides]
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(_is_count(side) for side in sides):
        raise ValueError(f"metadata imgsz is {said['imgsz']!r}; [height, width] is wanted")
    return Size(sides[0], sides[1])


def _keypoint_shape(said: Mapping[str, str]) -> tuple[int, int] | None:
    shape = _literal(said, "kpt_shape")
    if shape is None:
        return None
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != 2
        or not _is_count(shape[0])
        or shape[1] not in {2, 3}
    ):
        raise ValueError(f"metadata kpt_shape is {said['kpt_shape']!r}; [points, 2 or 3] is wanted")
    return shape[0], shape[1]


def _number(said: Mapping[str, str], key: str) -> float:
    value = _literal(said, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"metadata {key} is {said[key]!r}; a number is wanted")
    return float(value)


def _numbers(said: Mapping[str, str], key: str, count: int) -> tuple[float, ...]:
    values = _literal(said, key)
    values = values if isinstance(values, list | tuple) else [values]
    if len(values) != count or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    ):
        raise ValueError(f"metadata {key} is {said[key]!r}; a list of {count} numbers is wanted")
    return tuple(float(value) for value in values)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _literal(said: Mapping[str, str], key: str) -> Any:
    """A value as JSON or as a Python literal (nothing is evaluated), None where it is absent."""
    text = said.get(key)
    if text is None:
        return None
    if len(text) > _LONGEST_LITERAL:
        raise ValueError(f"metadata {key} has {len(text)} characters, more than anybody's names need")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"metadata {key} is neither JSON nor a Python literal: {text[:80]!r}") from error
