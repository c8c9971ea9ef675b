"""Multiplications counted from a graph, against what can be reckoned by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.workbench.graph_cost import count


def graph_file(path: Path, *, kind: type = np.float32) -> Path:
    """Conv 3 -> 8, 3x3, stride 2; ConvTranspose 8 -> 4, 2x2, stride 2; a dynamic size; a product 4 -> 5."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.random((8, 3, 3, 3)),
        "w2": rng.random((8, 4, 2, 2)),
        "w3": rng.random((4, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "w2"], ["b"], strides=[2, 2]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["c", "w3"], ["y"]),
    ]
    element = TensorProto.FLOAT if kind is np.float32 else TensorProto.FLOAT16
    graph = helper.make_graph(
        nodes,
        "cost",
        [helper.make_tensor_value_info("x", element, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", element, ["n", None, None, 5])],
        [numpy_helper.from_array(value.astype(kind), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.producer_name = "a test"
    onnx.save(model, path)
    return path


def test_multiplications_are_those_reckoned_by_hand(tmp_path: Path) -> None:
    cost = count(graph_file(tmp_path / "graph.onnx"), {"x": (1, 3, 32, 64)})
    assert cost is not None
    conv = (16 * 32 * 8) * (3 * 3 * 3)
    transposed = (16 * 32 * 8) * (4 * 2 * 2)
    product = (32 * 64) * 4 * 5
    assert cost.macs == conv + transposed + product
    assert cost.gflops == pytest.approx(2e-9 * (conv + transposed + product))
    assert cost.parameters == 8 * 3 * 9 + 8 * 4 * 4 + 20
    assert (cost.precision, cost.opset, cost.producer, cost.operators) == ("float32", 17, "a test", 4)


def test_half_precision_is_told(tmp_path: Path) -> None:
    cost = count(graph_file(tmp_path / "half.onnx", kind=np.float16), {"x": (1, 3, 32, 64)})
    assert cost is not None
    assert cost.precision == "float16"


def test_what_is_open_is_not_counted_rather_than_guessed(tmp_path: Path) -> None:
    cost = count(graph_file(tmp_path / "graph.onnx"), {})
    assert cost is not None
    assert (cost.macs, cost.gflops) == (None, None)
