"""What a model's graph costs, counted from the file: parameters, their types, multiplications of a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

_CONVOLUTIONS: Final = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""At which input the weights `[out, in / groups, …kernel]` stand."""

_PRODUCTS: Final = {"MatMul": 0, "MatMulInteger": 0, "Gemm": 0, "QLinearMatMul": 0}
"""At which input the left factor stands."""

_WEIGHT_TYPES: Final = frozenset(
    {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT4", "UINT4", "FLOAT8E4M3FN", "FLOAT8E5M2"}
)

_NUMPY_NAMES: Final = {"FLOAT": "float32", "DOUBLE": "float64"}

_Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Of one picture, or window.

    `parameters`: constants of floating point or 8 bits and less. `by_type`: how many of each type, named as
    numpy does, the most first. `macs`: multiply-add pairs of convolutions and matrix products, which is
    nearly all there is; None where some of their shapes are not known before the run. `opset`: of ONNX's
    own operators.
    """

    parameters: int
    by_type: Mapping[str, int]
    macs: int | None
    opset: int | None
    producer: str
    operators: int

    @property
    def gflops(self) -> float | None:
        """Billions of operations: a multiplication and an addition count as two."""
        return None if self.macs is None else 2 * self.macs / 1e9

    @property
    def precision(self) -> str:
        """The type of most parameters; with ``quantised`` where that has 8 bits or less."""
        kind = next(iter(self.by_type), "none")
        return f"{kind} (quantised)" if "int" in kind or "float8" in kind else kind


def count(path: Path, inputs: Mapping[str, tuple[int, ...]]) -> GraphCost | None:
    """The cost at these input shapes; None where the package `onnx` is not installed.

    Raises:
        RefusedError: `onnx` cannot read the file.
    """
    try:
        import onnx
    except ImportError:
        return None
    try:
        model = onnx.load(path)
        _fix_inputs(model, inputs)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (OSError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise RefusedError(f"{path.name} cannot be counted: {error}", code=Code.MODEL) from error
    kinds = _weights(model)
    return GraphCost(
        parameters=sum(kinds.values()),
        by_type=dict(kinds.most_common()),
        macs=_macs(model),
        opset=next((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), None),
        producer=" ".join(part for part in (model.producer_name, model.producer_version) if part),
        operators=len(model.graph.node),
    )


def _fix_inputs(model: Any, inputs: Mapping[str, tuple[int, ...]]) -> None:
    for value in model.graph.input:
        sides = inputs.get(value.name)
        if sides is not None:
            del value.type.tensor_type.shape.dim[:]
            for side in sides:
                value.type.tensor_type.shape.dim.add().dim_value = side
    # What the export wrote beside dynamic axes would stand against the sizes now known.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _weights(model: Any) -> Counter[str]:
    from onnx import TensorProto

    tensors = [
        *model.graph.initializer,
        *(a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute),
    ]
    counted: Counter[str] = Counter()
    for tensor in tensors:
        name = TensorProto.DataType.Name(tensor.data_type)
        if name in _WEIGHT_TYPES:
            counted[_NUMPY_NAMES.get(name, name.lower())] += math.prod(tensor.dims)
    return counted


def _macs(model: Any) -> int | None:
    shapes = _shapes(model)
    total = 0
    for node in model.graph.node:
        try:
            total += _of_node(node, shapes)
        except KeyError:
            return None
    return total


def _of_node(node: Any, shapes: _Shapes) -> int:
    """Multiply-add pairs of one operator; raises KeyError where a shape is not known."""
    if node.op_type in _CONVOLUTIONS:
        weights = shapes[node.input[_CONVOLUTIONS[node.op_type]]]
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":
        # Every input value meets every weight of its channel: weights are [in, out / groups, …kernel].
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in _PRODUCTS:
        left = shapes[node.input[_PRODUCTS[node.op_type]]]
        transposed = any(one.name == "transA" and one.i for one in node.attribute)
        return math.prod(shapes[node.output[0]]) * left[0 if transposed else -1]
    return 0


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Of every tensor whose sides are all known."""
    known = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in kind.shape.dim):
            known[value.name] = tuple(side.dim_value for side in kind.shape.dim)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            known[node.output[0]] = tuple(node.attribute[0].t.dims)
    return known
