"""The rewrite `cut`: a YOLOv8 graph that ends where its logits are known.

The export then takes a softmax over 16 bins for each edge of each of thousands of boxes, a sigmoid of
each class, and joins everything into one table, of which a handful of columns is ever used.
Source: Ultralytics, `Detect`, `Pose` and `DFL` (the names of the nodes are not relied on).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.vision.heads.yolov8_cut import BOXES, CLASSES, KEYPOINTS
from agent.workbench.graph.surgery import NotRewritableError, axis_of, keep_outputs, makers, readers

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


@dataclass(frozen=True, slots=True)
class Logits:
    """The tensors where the graph is cut: box edges over `bins`, classes before the sigmoid, keypoints."""

    boxes: str
    classes: str
    keypoints: str | None
    bins: int

    @property
    def outputs(self) -> dict[str, str]:
        """The cut file's outputs: the tensor of each."""
        named = {BOXES: self.boxes, CLASSES: self.classes}
        return named if self.keypoints is None else named | {KEYPOINTS: self.keypoints}


def find_logits(model: ModelProto) -> Logits:
    """Where to cut.

    Raises:
        NotRewritableError: the graph does not end as this family's does.
    """
    graph = model.graph
    maker = makers(graph)
    end = maker.get(graph.output[0].name) if len(graph.output) == 1 else None
    if end is None or end.op_type != "Concat" or len(end.input) not in {2, 3}:
        raise NotRewritableError("it does not end in one table of boxes, classes and perhaps keypoints")
    boxes, classes, *points = end.input
    bins, softmax = _expectation(graph, _above(maker, boxes, stop="Softmax"))
    squashed = maker.get(classes)
    if squashed is None or squashed.op_type != "Sigmoid":
        raise NotRewritableError("its classes do not come out of a sigmoid")
    return Logits(
        boxes=_through(maker, softmax.input[0], {"Transpose", "Reshape"}),
        classes=squashed.input[0],
        keypoints=_joined_levels(maker, points[0]) if points else None,
        bins=bins,
    )


def cut(model: ModelProto, logits: Logits) -> None:
    """Let the graph end at its logits.

    Raises:
        NotRewritableError: it has branches or loops.
    """
    keep_outputs(model, logits.outputs)


def _expectation(graph: GraphProto, softmax: NodeProto) -> tuple[int, NodeProto]:
    """The number of bins, if what follows the softmax weighs them with 0, 1, 2, … (DFL)."""
    from onnx import numpy_helper

    below = readers(graph)
    following = below.get(softmax.output[0], [])
    while len(following) == 1 and following[0].op_type == "Transpose":
        following = below.get(following[0].output[0], [])
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in following:
        if node.op_type == "Conv" and node.input[1] in weights:
            weighing = numpy_helper.to_array(weights[node.input[1]]).reshape(-1)
            if np.array_equal(weighing, np.arange(len(weighing))):
                return len(weighing), softmax
    raise NotRewritableError("its boxes are no expectation over bins (DFL)")


def _above(maker: Mapping[str, NodeProto], tensor: str, *, stop: str) -> NodeProto:
    """The nearest node of a kind that a tensor comes from."""
    waiting, seen = deque([tensor]), set[str]()
    while waiting:
        node = maker.get(name := waiting.popleft())
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == stop:
            return node
        waiting.extend(node.input)
    raise NotRewritableError("its boxes are no expectation over bins (DFL)")


def _through(maker: Mapping[str, NodeProto], tensor: str, kinds: set[str]) -> str:
    """The tensor above all nodes that only turn or reshape it."""
    while (node := maker.get(tensor)) is not None and node.op_type in kinds:
        tensor = node.input[0]
    return tensor


def _joined_levels(maker: Mapping[str, NodeProto], tensor: str) -> str:
    """The nearest tensor above that joins the levels' convolutions along the anchors."""
    waiting, seen = deque([tensor]), set[str]()
    while waiting:
        node = maker.get(name := waiting.popleft())
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Concat" and axis_of(node, 0) in {2, -1}:
            above = [maker.get(_through(maker, each, {"Reshape", "Flatten"})) for each in node.input]
            if all(one is not None and one.op_type == "Conv" for one in above):
                return name
        waiting.extend(node.input)
    raise NotRewritableError("its keypoints do not come from one convolution a level")
