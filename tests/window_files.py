"""Small models of sensor windows, written in ONNX's own text: each does by arithmetic what others learn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper, parser

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = '<ir_version: 10, opset_import: ["": 17, "ai.onnx.ml": 3]>\n'


def window_metadata(**changes: Any) -> dict[str, str]:
    """What a model of 6 samples of 2 channels says that takes values as they come; None takes a key away."""
    said: dict[str, Any] = {
        "window": 6,
        "channels": ["x", "y"],
        "rate_hz": 100,
        "normalisation": "none",
        "threshold": 0.5,
    }
    said |= changes
    metadata = {key: json.dumps(value) for key, value in said.items() if value is not None}
    return {"task": "anomaly", **metadata}


def text_model(path: Path, graph: str, *, metadata: dict[str, str]) -> Path:
    """A file with the graph that `graph` writes out."""
    model = parser.parse_model(_HEADER + graph)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def half(path: Path, *, sides: str, metadata: dict[str, str], element: str = "float") -> Path:
    """An autoencoder that gives back half of what it gets, `[N, sides]`."""
    graph = f"""half ({element}[N,{sides}] window) => ({element}[N,{sides}] again)
    <{element} half = {{0.5}}> {{ again = Mul(window, half) }}"""
    return text_model(path, graph, metadata=metadata)


def persistence(path: Path, *, metadata: dict[str, str], channels_first: bool = False) -> Path:
    """A forecaster that sees 4 samples of 2 channels and expects the last of them twice again."""
    sides, axis, found = ("2,4", 2, "2,2") if channels_first else ("4,2", 1, "2,2")
    repeats = "1,1,2" if channels_first else "1,2,1"
    graph = f"""persistence (float[N,{sides}] seen) => (float[N,{found}] next)
    <int64[1] last = {{3}}, int64[3] repeats = {{{repeats}}}> {{
        one = Gather <axis: int = {axis}> (seen, last)
        next = Tile(one, repeats)
    }}"""
    return text_model(path, graph, metadata=metadata)


def sums_classifier(
    path: Path, *, metadata: dict[str, str], ending: str = "Softmax", columns: int = 12
) -> Path:
    """A classifier of a row, as scikit-learn's exports are: a label, and a number for each of three classes.

    The logits are the row's sum, its negative, and 0; `ending` makes of them what the file gives.
    """
    weights = ", ".join("1, -1, 0" for _ in range(columns))
    graph = f"""sums (float[N,{columns}] row) => (int64[N] label, float[N,3] probabilities)
    <float[{columns},3] weights = {{{weights}}}> {{
        logits = MatMul(row, weights)
        probabilities = {ending}(logits)
        label = ArgMax <axis: int = 1, keepdims: int = 0> (logits)
    }}"""
    return text_model(path, graph, metadata=metadata)


def mapped_classifier(path: Path, *, metadata: dict[str, str]) -> Path:
    """A classifier whose probabilities come as a list of maps: scikit-learn's export without zipmap=False."""
    graph = "mapped (float[N,3] row) => (float[N,3] passed) { passed = Softmax(row) }"
    model = parser.parse_model(_HEADER + graph)
    model.graph.node.append(
        helper.make_node("ZipMap", ["passed"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    )
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(
            onnx.TensorProto.INT64, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        )
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_value_info("maps", kind))
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def forest_like(path: Path, *, metadata: dict[str, str], columns: int, element: str = "float") -> Path:
    """As an isolation forest's export: a label, and a score, lower for what is stranger: 1 - max|row|."""
    graph = f"""forest ({element}[N,{columns}] row) => (int64[N,1] label, {element}[N,1] scores)
    <{element} one = {{1}}> {{
        size = Abs(row)
        most = ReduceMax <axes: ints = [1], keepdims: int = 1> (size)
        scores = Sub(one, most)
        floor = Floor(scores)
        label = Cast <to: int = 7> (floor)
    }}"""
    return text_model(path, graph, metadata=metadata)
