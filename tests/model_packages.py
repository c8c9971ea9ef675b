"""Model packages for tests, of the demo's own trained models, and one of these broken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from agent.workbench.packing import pack

PARTS = Path(__file__).parent.parent / "agent/demo/models/parts.onnx"
VIBRATION = PARTS.with_name("vibration.onnx")


def package_of(model: Path, out: Path, *, images: Sequence[Path] = (), **said: Any) -> Path:
    """A package of `model` with the goldens that it gives by itself, on rendered pictures or on `images`."""
    stated = {"name": "parts", "version": "1", "licence": "Apache-2.0", **said}
    pack(model, out=out, said=stated, images=images)
    return out


def with_golden_of(package: Path, model: Path) -> Path:
    """The package, an unpacked one, with another model in the place of its own."""
    (package / "model.onnx").write_bytes(model.read_bytes())
    return package


def reading_pixels_last(model: Path, out: Path) -> Path:
    """The model, but that it takes what lies in `[N, 3, height, width]` for `[N, height, width, 3]`."""
    loaded = onnx.load(model)
    graph = loaded.graph
    name = graph.input[0].name
    for node in graph.node:
        for place, used in enumerate(node.input):
            if used == name:
                node.input[place] = "confused"
    sides = [
        helper.make_node("Shape", [name], ["shape"]),
        helper.make_node("Gather", ["shape", "order"], ["last_shape"], axis=0),
        helper.make_node("Reshape", [name, "last_shape"], ["last"]),
        helper.make_node("Transpose", ["last"], ["confused"], perm=[0, 3, 1, 2]),
    ]
    graph.initializer.append(helper.make_tensor("order", TensorProto.INT64, [4], [0, 2, 3, 1]))
    for place, node in enumerate(sides):
        graph.node.insert(place, node)
    onnx.save(loaded, out)
    return out
