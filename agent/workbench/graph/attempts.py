"""One rewrite of one model, tried and proven on a file of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from agent.vision.heads.grid import strides_for
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.heads.yolov8_cut import CLASSES, GRAPH_KEY, HEAD_KEY, YoloV8CutHead
from agent.vision.letterbox import Size
from agent.workbench.graph import proof
from agent.workbench.graph.cut import cut, find_logits
from agent.workbench.graph.proof import Proof
from agent.workbench.graph.softmax import move_softmax_to_the_last_axis
from agent.workbench.graph.surgery import NotRewritableError, raise_tensor, set_metadata
from agent.workbench.opening import open_detector

if TYPE_CHECKING:
    from onnx import ModelProto

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.adapters.onnx.session import OnnxSession

Rewrite = Literal["exact", "cut"]
Step = Callable[[str], None]

SOURCE_KEY: Final = "nanofleet_source_sha256"

_FRAME: Final = Size(720, 1280)
"""Whose input is proven, where each camera gets its own."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What the trainer's export gave: the graph, the same opened to run, and the file's hash."""

    model: ModelProto
    detector: OnnxDetector
    sha256: str

    @property
    def size(self) -> Size:
        """The input size that is proven."""
        return self.detector.input_shape.for_frame(_FRAME)

    def copy(self, said: dict[str, str]) -> ModelProto:
        """The graph, to be changed, with more metadata."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        set_metadata(model, said | {SOURCE_KEY: self.sha256})
        return model


def attempt(kind: Rewrite, exported: Exported, candidate: Path, *, on_step: Step) -> tuple[Proof, ...]:
    """Write the rewritten model to `candidate` and prove it there.

    Raises:
        NotRewritableError: the rewrite does not apply, or the candidate finds something else.
    """
    if said := exported.detector.session.metadata.get(GRAPH_KEY):
        raise NotRewritableError(f"it has been rewritten before ({said}); start from the export")
    if any(tensor.external_data for tensor in exported.model.graph.initializer):
        raise NotRewritableError("its weights lie in other files beside it")
    return (_exact if kind == "exact" else _cut)(exported, candidate, on_step)


def _exact(exported: Exported, candidate: Path, on_step: Step) -> tuple[Proof, ...]:
    on_step("exact: rewriting")
    model = exported.copy({GRAPH_KEY: "exact"})
    move_softmax_to_the_last_axis(model)
    _save(model, candidate)
    on_step("exact: proving")
    rewritten = proof.open_on_cpu(candidate)
    return (proof.prove_exact(exported.detector.session, rewritten, size=exported.size),)


def _cut(exported: Exported, candidate: Path, on_step: Step) -> tuple[Proof, ...]:
    on_step("cut: rewriting")
    detector, size = exported.detector, exported.size
    table_head = detector.head
    if not isinstance(table_head, YoloV8Head):
        raise NotRewritableError("it is not decoded as YOLOv8's family is")
    logits = find_logits(exported.model)
    strides = _strides(detector.session, table_head, size)
    model = exported.copy({GRAPH_KEY: "cut", HEAD_KEY: json.dumps({"strides": strides, "bins": logits.bins})})
    cut(model, logits)
    _save(model, candidate)
    served = open_detector(candidate, threads=2)
    head = served.head
    if not isinstance(head, YoloV8CutHead):
        raise NotRewritableError("the cut graph's outputs are not those of its family")
    prove = partial(proof.prove_cut, table_head=table_head, cut_head=head, size=size)
    on_step("cut: proving")
    plain = prove(detector.session, served.session)
    # A model finds nothing in noise; so much is added to its class logits that half of the boxes count.
    on_step("cut: proving what is found")
    by = -proof.usual_logit(served.session, size)
    whole = exported.copy({})
    raise_tensor(whole, logits.classes, by)
    raise_tensor(model, CLASSES, by)
    return plain, prove(_opened(whole), _opened(model))


def _strides(session: OnnxSession, head: YoloV8Head, size: Size) -> tuple[int, ...]:
    anchors = proof.anchors_of(session, head, size)
    strides = strides_for(size, anchors)
    if strides is None:
        raise NotRewritableError(
            f"{anchors} anchors at {size.height_px}x{size.width_px} fit no known strides"
        )
    return strides


def _opened(model: ModelProto) -> OnnxSession:
    with tempfile.TemporaryDirectory(prefix="nanofleet-") as folder:
        path = Path(folder, "raised.onnx")
        _save(model, path)
        return proof.open_on_cpu(path)


def _save(model: ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())
