"""Small ONNX files for tests: a detector that answers to colours, anomaly models, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

COLOURS: Final = ("red", "green", "blue")
COLOUR_METADATA: Final = {
    "task": "detect",
    "names": repr(dict(enumerate(COLOURS))),
    "imgsz": "[64, 96]",
    "stride": "32",
    "version": "1.2.3",
}
COLOUR_BOX: Final = (48.0, 32.0, 20.0, 10.0)
"""Centre x, centre y, width and height, in the input, of the box that `colour_detector` gives."""

_OPSET: Final = 17
_IR: Final = 10
_TYPES: Final = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
}

Sides = tuple[int | str, int | str, int | str, int | str]


def colour_detector(
    path: Path,
    *,
    sides: Sides = ("batch", 3, "height", "width"),
    element: str = "float32",
    metadata: dict[str, str] | None = None,
) -> Path:
    """A detector `[N, 4 + 3, 2]`: a box as strong as the picture is red, green, blue; one half as strong.

    Classes are COLOURS. The confidence is the mean of the channel over the input, padding included.
    """
    boxes = np.array([[COLOUR_BOX], [(8.0, 8.0, 6.0, 6.0)]], np.float64).reshape(2, 4).T[None]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["means", "last"], ["column"]),
        helper.make_node("Mul", ["column", "strengths"], ["scores"]),
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["count"]),
        helper.make_node("Concat", ["count", "box_shape"], ["all_boxes"], axis=0),
        helper.make_node("Expand", ["boxes", "all_boxes"], ["every_box"]),
        helper.make_node("Concat", ["every_box", "scores"], ["output0"], axis=1),
    ]
    constants = {
        "last": np.array([2]),
        "strengths": np.array([[[1.0, 0.5]]]).astype(element),
        "zero": np.array([0]),
        "one": np.array([1]),
        "box_shape": np.array([4, 2]),
        "boxes": boxes.astype(element),
    }
    return save(
        path,
        nodes=nodes,
        constants=constants,
        inputs=[("images", element, sides)],
        outputs=[("output0", element, (sides[0], 7, 2))],
        metadata=COLOUR_METADATA if metadata is None else metadata,
    )


def constant_detector(
    path: Path, answer: NDArray[np.float32], *, metadata: dict[str, str], size: tuple[int, int] = (64, 96)
) -> Path:
    """A detector that gives `answer` for whatever picture of `size` (height, width)."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output0"]),
    ]
    return save(
        path,
        nodes=nodes,
        constants={"zero": np.array(0.0, np.float32), "answer": answer},
        inputs=[("images", "float32", (1, 3, *size))],
        outputs=[("output0", "float32", answer.shape)],
        metadata=metadata,
    )


def colour_answer(
    path: Path,
    answer: NDArray[np.float32],
    *,
    colour_at: dict[tuple[int, ...], int],
    window: tuple[int, int, int, int],
    size: tuple[int, int],
    scale: float,
    metadata: dict[str, str],
) -> Path:
    """A model that gives `answer`, but at each place of `colour_at` adds the mean of a channel over `scale`.

    The mean is of `window` (top, left, bottom, right) of an input of `size` (height, width).
    """
    top, left, bottom, right = window
    weights = np.zeros((1, 1, *size), np.float32)
    weights[..., top:bottom, left:right] = 1 / ((bottom - top) * (right - left) * scale)
    places = np.zeros((3, answer.size), np.float32)
    for place, channel in colour_at.items():
        places[channel, np.ravel_multi_index(place, answer.shape)] = 1
    nodes = [
        helper.make_node("Mul", ["images", "weights"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "places"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["added"]),
        helper.make_node("Add", ["answer", "added"], ["output0"]),
    ]
    constants = {
        "weights": weights,
        "axes": np.array([2, 3]),
        "places": places,
        "shape": np.array(answer.shape),
        "answer": answer,
    }
    return save(
        path,
        nodes=nodes,
        constants=constants,
        inputs=[("images", "float32", (1, 3, *size))],
        outputs=[("output0", "float32", answer.shape)],
        metadata=metadata,
    )


def anomaly_metadata(**changes: Any) -> dict[str, str]:
    """What an anomaly model of 8 samples of 2 channels says; None takes a key away."""
    said: dict[str, Any] = {
        "window": 8,
        "channels": ["x", "y"],
        "rate_hz": 200,
        "mean": [1.0, -2.0],
        "std": [2.0, 4.0],
        "threshold": 0.5,
    }
    said |= changes
    metadata = {key: json.dumps(value) for key, value in said.items() if value is not None}
    return {"task": "anomaly", **metadata}


def reconstruction_model(path: Path, *, metadata: dict[str, str], element: str = "float32") -> Path:
    """An anomaly model that gives back half of its normalised input: the score is mean((x / 2) squared)."""
    shape = ("batch", 8, 2)
    return save(
        path,
        nodes=[helper.make_node("Mul", ["window", "half"], ["again"])],
        constants={"half": np.array(0.5).astype(element)},
        inputs=[("window", element, shape)],
        outputs=[("again", element, shape)],
        metadata=metadata,
    )


def score_model(path: Path, *, metadata: dict[str, str], keepdims: bool) -> Path:
    """An anomaly model that gives the greatest normalised sample as its score, `[N, 1]` or `[N]`."""
    nodes = [
        helper.make_node("Flatten", ["window"], ["flat"], axis=1),
        helper.make_node("ReduceMax", ["flat"], ["score"], axes=[1], keepdims=int(keepdims)),
    ]
    return save(
        path,
        nodes=nodes,
        constants={},
        inputs=[("window", "float32", ("batch", 8, 2))],
        outputs=[("score", "float32", ("batch", 1) if keepdims else ("batch",))],
        metadata=metadata,
    )


def operator_file(
    path: Path, operator: str, *, opset: int = _OPSET, domain: str = "", ir_version: int = _IR
) -> Path:
    """A file with one operator from `[N, 3, 64, 96]` to the same: to be refused for what it needs."""
    shape = ("batch", 3, 64, 96)
    return save(
        path,
        nodes=[helper.make_node(operator, ["images"], ["output0"], domain=domain)],
        constants={},
        inputs=[("images", "float32", shape)],
        outputs=[("output0", "float32", shape)],
        metadata={},
        opsets={"": opset} | ({domain: 1} if domain else {}),
        ir_version=ir_version,
    )


def two_input_file(path: Path) -> Path:
    """A file that wants two pictures."""
    shape = (1, 3, 64, 96)
    return save(
        path,
        nodes=[helper.make_node("Add", ["images", "sizes"], ["output0"])],
        constants={},
        inputs=[("images", "float32", shape), ("sizes", "float32", shape)],
        outputs=[("output0", "float32", shape)],
        metadata={},
    )


def save(
    path: Path,
    *,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    inputs: list[tuple[str, str, tuple[int | str, ...]]],
    outputs: list[tuple[str, str, tuple[int | str, ...]]],
    metadata: dict[str, str],
    opsets: dict[str, int] | None = None,
    ir_version: int = _IR,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, _TYPES[kind], shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, _TYPES[kind], shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    wanted = opsets or {"": _OPSET}
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in wanted.items()]
    )
    model.ir_version = ir_version
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
