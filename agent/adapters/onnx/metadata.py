"""What an ONNX file says of itself, read strictly: a wrong value is refused, an absent one is None.

Detectors: `task, names, imgsz, stride, kpt_shape, end2end, args, version`, as Ultralytics writes them (Python
literals) or as JSON; `head` where the outputs leave a doubt.
What models of sensor windows say beside their task is read in `windows.metadata`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent.adapters.onnx.literals import is_count, literal
from agent.vision.letterbox import Size

Task = Literal["detect", "pose", "classify", "anomaly"]

DEFAULT_STRIDE = 32
_TASKS: tuple[Task, ...] = ("detect", "pose", "classify", "anomaly")


@dataclass(frozen=True, slots=True)
class DetectorMetadata:
    """What a detector's file says. `keypoint_shape`: K points of 2 or 3 numbers.

    `end_to_end`: boxes come finished, by the model itself or by suppression that the export put inside.
    `baked_confidence`: the threshold inside the graph, below which nothing comes out, where the file says.
    """

    class_names: Mapping[int, str] | None
    input_size: Size | None
    stride: int
    keypoint_shape: tuple[int, int] | None
    end_to_end: bool
    baked_confidence: float | None


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
    stride = literal(said, "stride")
    stride = max(stride) if isinstance(stride, list | tuple) and stride else stride
    if stride is not None and not is_count(stride):
        raise ValueError(f"metadata stride is {said['stride']!r}; a whole number such as 32 is wanted")
    arguments = _arguments(said)
    by_itself = said.get("end2end", "").strip().lower() == "true"
    # Without suppression a graph keeps its best rows, however weak.
    confidence = arguments.get("conf", 0.0 if by_itself else None)
    return DetectorMetadata(
        class_names=_class_names(said),
        input_size=_input_size(said),
        stride=stride if stride is not None else DEFAULT_STRIDE,
        keypoint_shape=_keypoint_shape(said),
        end_to_end=by_itself or arguments.get("nms") is True,
        baked_confidence=float(confidence) if isinstance(confidence, float | int) else None,
    )


def _class_names(said: Mapping[str, str]) -> Mapping[int, str] | None:
    names = literal(said, "names")
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
    sides = literal(said, "imgsz")
    if sides is None:
        return None
    if is_count(sides):
        sides = [sides, sides]
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(is_count(side) for side in sides):
        raise ValueError(f"metadata imgsz is {said['imgsz']!r}; [height, width] is wanted")
    return Size(sides[0], sides[1])


def _keypoint_shape(said: Mapping[str, str]) -> tuple[int, int] | None:
    shape = literal(said, "kpt_shape")
    if shape is None:
        return None
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != 2
        or not is_count(shape[0])
        or shape[1] not in {2, 3}
    ):
        raise ValueError(f"metadata kpt_shape is {said['kpt_shape']!r}; [points, 2 or 3] is wanted")
    return shape[0], shape[1]


def _arguments(said: Mapping[str, str]) -> dict[str, Any]:
    """How the file was exported. Source: Ultralytics, `args`: what suppression inside leaves a trace in.

    A free text to us: what cannot be read says nothing.
    """
    try:
        arguments = literal(said, "args")
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}
