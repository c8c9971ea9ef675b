from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from agent.adapters.onnx.skeleton import read_skeleton
from tests.onnx_files import colour_detector
from tests.yolov8_files import yolov8_file


def test_it_reads_what_the_package_onnx_reads(tmp_path: Path) -> None:
    path = yolov8_file(tmp_path / "model.onnx")
    skeleton = read_skeleton(path)
    model = onnx.load(path)
    assert skeleton is not None
    assert skeleton.operators == {node.op_type for node in model.graph.node}
    assert skeleton.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert skeleton.softmax_axes == {1}
    assert skeleton.precision == "fp32"


def test_a_softmax_without_axis_works_on_the_last_one(tmp_path: Path) -> None:
    path = write(tmp_path, [helper.make_node("Softmax", ["x"], ["y"])], [])
    assert axes_of(path) == {-1}
    assert axes_of(yolov8_file(tmp_path / "last.onnx", last_axis=True)) == {-1}
    assert axes_of(colour_detector(tmp_path / "none.onnx")) == set()


@pytest.mark.parametrize(
    ("element", "precision"),
    [(np.float32, "fp32"), (np.float16, "fp16"), (np.float64, "fp64"), (np.int8, "int8")],
)
def test_precision_is_what_most_weights_are_stored_in(
    tmp_path: Path, element: type[np.generic], precision: str
) -> None:
    weights = [
        numpy_helper.from_array(np.ones(100, element), "weights"),
        numpy_helper.from_array(np.ones(3, np.float32), "scale"),
        numpy_helper.from_array(np.ones(5000, np.int64), "shape"),
    ]
    skeleton = read_skeleton(write(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], weights))
    assert skeleton is not None
    assert skeleton.precision == precision


def test_a_graph_that_quantises_is_int8_whatever_it_stores(tmp_path: Path) -> None:
    node = helper.make_node("DequantizeLinear", ["x", "scale"], ["y"])
    skeleton = read_skeleton(
        write(tmp_path, [node], [numpy_helper.from_array(np.ones(1, np.float32), "scale")])
    )
    assert skeleton is not None
    assert skeleton.precision == "int8"


@pytest.mark.parametrize("content", [b"", b"\x00", b"hello, no model", b"\xff" * 64])
def test_what_is_no_model_has_no_skeleton(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_skeleton(tmp_path / "file") is None
    assert read_skeleton(tmp_path / "none") is None


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_file_ends_in_a_skeleton_or_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(yolov8_file(folder / "model.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    (folder / "model.onnx").write_bytes(bytes(content[:cut]))
    read_skeleton(folder / "model.onnx")


def axes_of(path: Path) -> frozenset[int]:
    skeleton = read_skeleton(path)
    assert skeleton is not None
    return skeleton.softmax_axes


def write(folder: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> Path:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (3,)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "test", value[:1], value[1:], weights)
    onnx.save(helper.make_model(graph), folder / "made.onnx")
    return folder / "made.onnx"
