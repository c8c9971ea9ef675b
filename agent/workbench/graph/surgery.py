"""Small steps on an ONNX graph: who makes a tensor, who reads it, what is left when its outputs change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_OWN_DOMAINS = ("", "ai.onnx")


class NotRewritableError(ValueError):
    """A rewrite does not apply to this graph, or was not proven; the message says why."""


def makers(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that makes each tensor."""
    return {name: node for node in graph.node for name in node.output if name}


def readers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """The nodes that read each tensor, in their order."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def opset(model: ModelProto) -> int:
    """The version of ONNX's own operators that the file uses."""
    return max((one.version for one in model.opset_import if one.domain in _OWN_DOMAINS), default=0)


def axis_of(node: NodeProto, default: int) -> int:
    """A node's attribute `axis`."""
    return next((int(one.i) for one in node.attribute if one.name == "axis"), default)


def set_metadata(model: ModelProto, said: Mapping[str, str]) -> None:
    """Add to the file's metadata; what it said under the same keys goes."""
    from onnx import helper

    kept = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, kept | dict(said))


def keep_outputs(model: ModelProto, outputs: Mapping[str, str]) -> None:
    """Make `outputs` (new name: tensor) the only ones, and drop what none of them needs.

    Raises:
        NotRewritableError: a node holds a graph of its own, whose needs are not followed here.
    """
    from onnx import helper

    graph = model.graph
    if any(one.HasField("g") or one.graphs for node in graph.node for one in node.attribute):
        raise NotRewritableError("it has branches or loops")
    element = graph.output[0].type.tensor_type.elem_type
    needed = _needed(graph, set(outputs.values()))
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field in (graph.node, graph.initializer, graph.value_info, graph.output):
        del field[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    for name, tensor in outputs.items():
        _rename(graph, tensor, name)
        graph.output.append(helper.make_tensor_value_info(name, element, None))


def raise_tensor(model: ModelProto, tensor: str, by: float) -> None:
    """Add a constant to a tensor of floats, before whoever reads it."""
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    place, maker = next((at, node) for at, node in enumerate(graph.node) if tensor in node.output)
    before, amount = f"{tensor}/before", f"{tensor}/amount"
    maker.output[list(maker.output).index(tensor)] = before
    element = helper.tensor_dtype_to_np_dtype(graph.input[0].type.tensor_type.elem_type)
    graph.initializer.append(numpy_helper.from_array(np.asarray(by, element), amount))
    graph.node.insert(place + 1, helper.make_node("Add", [before, amount], [tensor]))


def _needed(graph: GraphProto, wanted: set[str]) -> set[str]:
    """Every tensor that the wanted ones are made of, they themselves included."""
    maker, needed, waiting = makers(graph), set[str](), list(wanted)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        if (node := maker.get(name)) is not None:
            waiting.extend(node.input)
            # A node's other outputs stay with it.
            needed.update(node.output)
    return needed


def _rename(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
