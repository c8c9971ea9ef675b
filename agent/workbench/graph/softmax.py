"""The rewrite `exact`: every Softmax over another axis than the last works on the last one instead.

ONNX Runtime's kernel for the CPU is slow on other axes, and exports of the YOLOv8 family take the
expectation of their box edges over axis 1. Moving the axis to the end and back changes no bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.workbench.graph.surgery import NotRewritableError, axis_of, makers, opset

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_LEAST_OPSET = 13
"""Before it, Softmax flattened everything from its axis on. Source: ONNX operators, Softmax-13."""


def move_softmax_to_the_last_axis(model: ModelProto) -> int:
    """Change the graph; returns at how many places.

    Raises:
        NotRewritableError: there is no such Softmax, or the file is too old to be sure.
    """
    if opset(model) < _LEAST_OPSET:
        raise NotRewritableError(f"its opset is {opset(model)}; {_LEAST_OPSET} or newer is wanted")
    ranks = _ranks(model)
    moved = [node for node in model.graph.node if _moves(node, ranks)]
    for node in moved:
        _move(model.graph, node, ranks[node.input[0]])
    if not moved:
        raise NotRewritableError("every Softmax in it works on the last axis already")
    return len(moved)


def _moves(node: NodeProto, ranks: dict[str, int]) -> bool:
    if node.op_type != "Softmax" or node.domain not in {"", "ai.onnx"}:
        return False
    rank = ranks.get(node.input[0])
    return rank is not None and axis_of(node, -1) % rank != rank - 1


def _move(graph: GraphProto, node: NodeProto, rank: int) -> None:
    from onnx import helper

    axis = axis_of(node, -1) % rank
    # The axis moves to the end, the others keep their order; and the way back.
    there = [*(at for at in range(rank) if at != axis), axis]
    back = [there.index(at) for at in range(rank)]
    source, result = node.input[0], node.output[0]
    turned, answered = f"{result}/turned", f"{result}/answered"
    place = next(at for at, one in enumerate(graph.node) if one.output and one.output[0] == result)
    steps = [
        helper.make_node("Transpose", [source], [turned], perm=there),
        helper.make_node("Softmax", [turned], [answered], name=node.name, axis=-1),
        helper.make_node("Transpose", [answered], [result], perm=back),
    ]
    del graph.node[place]
    for offset, step in enumerate(steps):
        graph.node.insert(place + offset, step)


def _ranks(model: ModelProto) -> dict[str, int]:
    """How many axes each tensor has, where that can be known without running."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.input, *graph.output)
        if info.type.tensor_type.HasField("shape")
    }
    for name, node in makers(graph).items():
        if node.op_type == "Transpose":
            turned = next((len(one.ints) for one in node.attribute if one.name == "perm"), None)
            if turned is not None:
                ranks[name] = turned
    return {name: rank for name, rank in ranks.items() if rank}
