"""Small ONNX files that end as exports of the YOLOv8 family do: DFL, sigmoid, one table; random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE: Final = (64, 96)
"""Height and width of the input."""

STRIDES: Final = (8, 16, 32)
BINS: Final = 16


class Parts:
    """A graph while it grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, operator: str, inputs: list[str | NDArray[Any]], name: str, **attributes: Any) -> str:
        """A node whose output is `name`; arrays among its inputs become constants."""
        names = []
        for place, given in enumerate(inputs):
            if isinstance(given, str):
                names.append(given)
            else:
                self.constants[f"{name}/{place}"] = given
                names.append(f"{name}/{place}")
        self.nodes.append(helper.make_node(operator, names, [name], name=f"node/{name}", **attributes))
        return name


def yolov8_file(
    path: Path,
    *,
    classes: int = 3,
    keypoint_shape: tuple[int, int] | None = None,
    keypoint_gain: float = 2.0,
    bins: NDArray[np.float32] | None = None,
    last_axis: bool = False,
    seed: int = 0,
    class_bias: float = -3.0,
) -> Path:
    """A detector, or pose model, of an input of SIZE.

    `keypoint_gain` is 2 and `bins` are 0, 1, 2, … in the family. `last_axis`: where its softmax works.
    """
    rng = np.random.default_rng(seed)
    parts = Parts()
    boxes = _levels(parts, rng, "boxes", 4 * BINS, scale=12.0)
    scores = _levels(parts, rng, "scores", classes, scale=6.0, bias=class_bias)
    cells, stride = _anchors()
    edges = _expectation(parts, boxes, bins, last_axis=last_axis)
    near = parts.add("Sub", [cells, _slice(parts, edges, "lt", 0, 2)], "near")
    far = parts.add("Add", [cells, _slice(parts, edges, "rb", 2, 4)], "far")
    both = parts.add("Add", [near, far], "both")
    middle = parts.add("Div", [both, np.array(2, np.float32)], "middle")
    extent = parts.add("Sub", [far, near], "extent")
    placed = parts.add("Concat", [middle, extent], "placed", axis=1)
    table: list[str | NDArray[Any]] = [parts.add("Mul", [placed, stride], "table_boxes")]
    table.append(parts.add("Sigmoid", [scores], "table_scores"))
    if keypoint_shape is not None:
        table.append(_keypoints(parts, rng, keypoint_shape, keypoint_gain, cells, stride))
    parts.add("Concat", table, "output0", axis=1)
    said = {
        "task": "pose" if keypoint_shape else "detect",
        "names": repr({index: f"c{index}" for index in range(classes)}),
        "imgsz": repr(list(SIZE)),
        "stride": "32",
        "version": "8.4.0",
    }
    if keypoint_shape:
        said["kpt_shape"] = repr(list(keypoint_shape))
    rows = 4 + classes + (keypoint_shape[0] * keypoint_shape[1] if keypoint_shape else 0)
    return _save(path, parts, rows=rows, said=said)


def _levels(
    parts: Parts, rng: np.random.Generator, name: str, channels: int, *, scale: float, bias: float = 0.0
) -> str:
    """Logits `[N, channels, anchors]`: each level's mean colours through a random 1 x 1 convolution."""
    joined: list[str | NDArray[Any]] = []
    for stride in STRIDES:
        own = f"{name}{stride}"
        pooled = parts.add(
            "AveragePool",
            ["images"],
            f"{own}/pooled",
            kernel_shape=[stride, stride],
            strides=[stride, stride],
        )
        weight = rng.normal(0, scale, (channels, 3, 1, 1)).astype(np.float32)
        offset = np.full(channels, bias, np.float32)
        convolved = parts.add("Conv", [pooled, weight, offset], f"{own}/conv")
        joined.append(parts.add("Reshape", [convolved, np.array([0, channels, -1])], f"{own}/flat"))
    return parts.add("Concat", joined, f"{name}/logits", axis=2)


def _expectation(parts: Parts, boxes: str, bins: NDArray[np.float32] | None, *, last_axis: bool) -> str:
    weights = np.arange(BINS, dtype=np.float32) if bins is None else bins
    split = parts.add("Reshape", [boxes, np.array([0, 4, BINS, -1])], "dfl/split")
    if last_axis:
        turned = parts.add("Transpose", [split], "dfl/turned", perm=[0, 3, 1, 2])
        softmax = parts.add("Softmax", [turned], "dfl/softmax", axis=-1)
        ready = parts.add("Transpose", [softmax], "dfl/back", perm=[0, 3, 2, 1])
    else:
        turned = parts.add("Transpose", [split], "dfl/turned", perm=[0, 2, 1, 3])
        ready = parts.add("Softmax", [turned], "dfl/softmax", axis=1)
    weighed = parts.add("Conv", [ready, weights.reshape(1, BINS, 1, 1)], "dfl/conv")
    return parts.add("Reshape", [weighed, np.array([0, 4, -1])], "dfl/edges")


def _keypoints(
    parts: Parts,
    rng: np.random.Generator,
    shape: tuple[int, int],
    gain: float,
    cells: NDArray[np.float32],
    stride: NDArray[np.float32],
) -> str:
    points, numbers = shape
    logits = _levels(parts, rng, "points", points * numbers, scale=4.0)
    split = parts.add("Reshape", [logits, np.array([0, points, numbers, -1])], "points/split")
    xy = _slice(parts, split, "points/xy", 0, 2, axis=2)
    doubled = parts.add("Mul", [xy, np.array(gain, np.float32)], "points/doubled")
    shifted = parts.add("Add", [doubled, cells - np.float32(0.5)], "points/shifted")
    placed = parts.add("Mul", [shifted, stride], "points/placed")
    if numbers == 3:
        seen = parts.add("Sigmoid", [_slice(parts, split, "points/seen", 2, 3, axis=2)], "points/sure")
        placed = parts.add("Concat", [placed, seen], "points/all", axis=2)
    return parts.add("Reshape", [placed, np.array([0, points * numbers, -1])], "table_points")


def _slice(parts: Parts, tensor: str, name: str, start: int, end: int, *, axis: int = 1) -> str:
    return parts.add("Slice", [tensor, np.array([start]), np.array([end]), np.array([axis])], name)


def _anchors() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        y, x = np.mgrid[:rows, :columns] + 0.5
        cells.append(np.stack([x.reshape(-1), y.reshape(-1)]))
        strides.append(np.full(rows * columns, stride))
    return np.concatenate(cells, axis=1)[None].astype(np.float32), np.concatenate(strides).astype(np.float32)


def _save(path: Path, parts: Parts, *, rows: int, said: dict[str, str]) -> Path:
    anchors = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in STRIDES)
    graph = helper.make_graph(
        parts.nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3, *SIZE))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ("batch", rows, anchors))],
        [numpy_helper.from_array(value, name) for name, value in parts.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    helper.set_model_props(model, said)
    onnx.save(model, path)
    return path
