"""From a file to a model that serves: read what it says, try it once, choose what decodes it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from agent.adapters.models import ModelPackage
from agent.adapters.onnx import input_shape
from agent.adapters.onnx.accelerator import DEFAULT, Accelerator
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.input_shape import Shape
from agent.adapters.onnx.metadata import (
    Task,
    read_detector,
    read_task,
)
from agent.adapters.onnx.prepared import PreparedGraphs
from agent.adapters.onnx.preparing import Rewrite
from agent.adapters.onnx.serving import graph_of, precision_of, served_graph
from agent.adapters.onnx.session import OnnxSession, SessionSettings, open_session
from agent.adapters.onnx.size_input import SizeInput, size_input
from agent.adapters.onnx.windows.metadata import read_window_metadata
from agent.contract.model_card import Preprocessing
from agent.domain.errors import TransientError
from agent.ports import ModelFacts
from agent.vision.feeding import Element, Feeding
from agent.vision.heads import Evidence, Head, Output
from agent.vision.heads.choose import choose_head
from agent.vision.heads.end2end import EndToEndHead
from agent.vision.letterbox import Size

log = structlog.get_logger(__name__)


def load_model(
    *,
    name: str,
    path: Path,
    sha256: str | None = None,
    package: ModelPackage | None = None,
    provider: str = "cpu",
    strict_provider: bool = False,
    shape: Shape = "file",
    threads: int = 1,
    max_batch: int = 1,
    spinning: bool = True,
    arena: bool = True,
    accelerator: Accelerator = DEFAULT,
    meanwhile_for: str | None = None,
    rewrite: Rewrite = "off",
    prepared: PreparedGraphs | None = None,
) -> OnnxDetector | OnnxAnomaly:
    """Load a model; its file says which kind it is. Blocks for as long as reading and one run take.

    What a `package` says stands above what its file says, whose hash was looked at with the package's.
    `threads` work within one run; give 1 when several lanes call at once. `spinning`, `arena`
    and `meanwhile_for` are explained at `SessionSettings`.
    `prepared` keeps the graphs that `rewrite` asks for; one that is not there yet is made in a child process.

    Raises:
        RefusedError: the file is missing, damaged, another one than `sha256`, or nothing here decodes it.
        ConfigError: onnxruntime is missing, or `strict_provider` and the provider is not in use.
    """
    settings = SessionSettings(
        provider=provider,
        strict_provider=strict_provider,
        threads=threads,
        spinning=spinning,
        arena=arena,
        accelerator=accelerator,
        meanwhile_for=meanwhile_for,
    )
    wanted = None if package else sha256
    served = served_graph(path, rewrite=rewrite, provider=provider, prepared=prepared, sha256=wanted)
    if served is None:
        session = open_session(path, sha256=wanted, settings=settings)
    else:
        session = open_session(served.path, sha256=None, settings=settings)
        session.stands_for = served.source_sha256
    if package is not None:
        session.metadata = {**session.metadata, **package.card.said()}
    try:
        task = read_task(session.metadata)
        if task == "anomaly":
            return _anomaly(name, session, settings, package)
        return _detector(
            name, session, settings, task=task, shape=shape, max_batch=max_batch, package=package
        )
    except ValueError as error:
        raise session.refusal(str(error)) from error


def _anomaly(
    name: str, session: OnnxSession, settings: SessionSettings, package: ModelPackage | None
) -> OnnxAnomaly:
    metadata = read_window_metadata(session.metadata)
    facts = _facts(name, session, settings, package, task="anomaly", class_names={})
    return OnnxAnomaly(session=session, facts=facts, metadata=metadata)


def _detector(
    name: str,
    session: OnnxSession,
    settings: SessionSettings,
    *,
    task: Task | None,
    shape: Shape,
    max_batch: int,
    package: ModelPackage | None,
) -> OnnxDetector:
    metadata = read_detector(session.metadata)
    element = _element(session)
    batch, _, height, width = session.inputs[0].shape
    if task == "classify" and shape == "auto":
        # It sees the middle of a picture, at the size that it was trained at.
        shape = "file"
    chosen = input_shape.choose(
        shape, sides=(height, width), said=metadata.input_size, stride=metadata.stride
    )
    # Where each camera gets its own size, 2 x 3 strides show the form of the answer at no cost.
    size = chosen.fixed or Size(2 * chosen.stride, 3 * chosen.stride)
    evidence = Evidence(
        task=task if task != "anomaly" else None,
        class_names=metadata.class_names,
        keypoint_shape=metadata.keypoint_shape,
        end_to_end=metadata.end_to_end,
        input_size=size,
        element=element,
        input_names=tuple(spec.name for spec in session.inputs),
        outputs=(),
        said=session.metadata,
    )
    sizes = size_input(session)
    head = _head(session, evidence, np.zeros((batch or 1, 3, size.height_px, size.width_px), element), sizes)
    if batch is not None and batch < max_batch:
        log.warning("model.batch_is_fixed", model=name, file=session.path.name, asked=max_batch, used=batch)
    if height is None and width is None and shape != "auto" and metadata.input_size is None:
        log.info("model.size_assumed", model=name, file=session.path.name, size=str(chosen.fixed))
    if isinstance(head, EndToEndHead):
        # What the graph leaves out cannot be had back by a lower threshold, nor another overlap.
        log.info(
            "model.suppression_is_inside",
            model=name,
            file=session.path.name,
            no_threshold_below="unknown" if metadata.baked_confidence is None else metadata.baked_confidence,
        )
    return OnnxDetector(
        session=session,
        facts=_facts(name, session, settings, package, task=head.task, class_names=dict(head.class_names)),
        head=head,
        shape=chosen,
        max_batch=min(max_batch, batch or max_batch),
        fixed_batch=batch,
        sizes=sizes,
        feeding=fed_as_said(head.feeding, package.card.preprocessing) if package else None,
    )


def fed_as_said(feeding: Feeding, said: Preprocessing) -> Feeding:
    """How the head feeds its model, but for what a package states."""
    stated = said.model_dump(exclude_none=True)
    placement = stated.pop("placement", feeding.placement)
    return replace(feeding, code=replace(feeding.code, **stated), placement=placement)


def _element(session: OnnxSession) -> Element:
    """The type of the picture's values.

    Raises:
        ValueError: the first input is no picture in three colours.
    """
    spec = session.inputs[0] if session.inputs else None
    if spec is None or len(spec.shape) != 4 or spec.shape[1] not in {3, None}:
        raise ValueError("a detector's first input [N, 3, height, width] is wanted")
    if spec.dtype == "float32":
        return "float32"
    if spec.dtype == "float16":
        return "float16"
    raise ValueError(f"an input of float32 or float16 is wanted, not {spec.dtype}")


def _head(
    session: OnnxSession, evidence: Evidence, feed: NDArray[np.generic], sizes: SizeInput | None
) -> Head:
    """Run once, and choose by what comes out: shapes in a file may be open, or wrong."""
    beside = sizes.feed([evidence.input_size], rows=len(feed)) if sizes is not None else {}
    try:
        outputs = session.run(feed, beside=beside)
    except TransientError as error:
        raise session.refusal(f"it does not run: {error.message}") from error
    shown = (
        Output(spec.name, tuple(output.shape), _first(output))
        for spec, output in zip(session.outputs, outputs, strict=True)
    )
    head = choose_head(replace(evidence, outputs=tuple(shown)))
    if sizes is not None and head.feeding.size_input != sizes.name:
        raise ValueError(f"nothing is known of its input {sizes.name}: an output as this has needs one input")
    return head


def _first(output: NDArray[np.generic]) -> NDArray[np.float32] | None:
    return output[0].astype(np.float32) if output.ndim and len(output) else None


def _facts(
    name: str,
    session: OnnxSession,
    settings: SessionSettings,
    package: ModelPackage | None,
    *,
    task: Task,
    class_names: dict[int, str],
) -> ModelFacts:
    return ModelFacts(
        name=name,
        version=session.metadata.get("version", "unknown"),
        sha256=package.sha256 if package else session.stands_for or session.sha256,
        task=task,
        class_names=class_names,
        provider_asked=settings.meanwhile_for or settings.provider,
        provider_used=session.provider_used,
        graph=graph_of(session.metadata),
        precision=precision_of(session, asked=settings.accelerator.precision),
    )
