"""What a model file is, how it is fed, what comes out, what it costs: read, counted and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agent.adapters.onnx import load_model
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.session import SessionSettings, TensorSpec, open_session
from agent.domain.errors import RefusedError
from agent.vision.letterbox import Size
from agent.workbench import graph_cost, trial
from agent.workbench.graph_cost import GraphCost
from agent.workbench.opening import all_cores, need_provider
from agent.workbench.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.onnx.input_shape import Shape
    from agent.adapters.onnx.session import OnnxSession
    from agent.ports import ModelFacts

_TYPICAL_FRAME = Size(720, 1280)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What there is to know without decoding: `metadata` is the file's own."""

    path: Path
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Serving:
    """How the agent would serve the file.

    `head`: the module that decodes it; for sensor windows the kind of score. `feeding`: how it is
    fed, name by name. `decoded_outputs`: those of its outputs that are read. `size`: of the input for a
    picture of 1280x720; None for sensor windows.
    """

    facts: ModelFacts
    head: str
    feeding: Mapping[str, Any]
    decoded_outputs: tuple[str, ...]
    size: Size | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """`serving` or, where nothing decodes the file, `refusal`: why, and what would.

    `cost` is None where the package `onnx` is missing, `trial` where there is no `serving`.
    """

    file: FileFacts
    serving: Serving | None
    refusal: str | None
    cost: GraphCost | None
    trial: Trial | None

    def as_json(self) -> dict[str, Any]:
        """Plain values; sizes in pixels as [height, width]."""
        file = asdict(self.file)
        for key in ("inputs", "outputs"):
            file[key] = [{**each, "shape": list(each["shape"])} for each in file[key]]
        return {
            "file": {**file, "path": str(self.file.path)},
            "serves": self.serving is not None,
            "refusal": self.refusal,
            "serving": None if self.serving is None else _serving_json(self.serving),
            "cost": None
            if self.cost is None
            else {
                **asdict(self.cost),
                "gflops": self.cost.gflops,
                "precision": self.cost.precision,
            },
            "trial": None if self.trial is None else asdict(self.trial),
        }


def inspect_model(
    path: Path, *, shape: Shape = "file", provider: str = "cpu", threads: int | None = None
) -> Inspection:
    """Read, count and try one file. Takes as long as loading it twice and six runs.

    Raises:
        RefusedError: there is no such file, or it is no ONNX file that this runtime loads.
        ConfigError: the provider cannot be had.
    """
    threads = threads or all_cores()
    settings = SessionSettings(provider=provider, threads=threads)
    session = open_session(path, sha256=None, settings=settings)
    need_provider(path, asked=provider, used=session.provider_used)
    file = FileFacts(
        path=path,
        sha256=session.sha256,
        size_bytes=path.stat().st_size,
        inputs=session.inputs,
        outputs=session.outputs,
        metadata=session.metadata,
    )
    refusal = None
    serving = tried = None
    try:
        serving = _serving(
            load_model(name=path.stem, path=path, provider=provider, shape=shape, threads=threads)
        )
        tried = trial.try_out(path, shape=shape, provider=provider, threads=threads)
    except RefusedError as error:
        refusal = error.message
    return Inspection(
        file=file,
        serving=serving,
        refusal=refusal,
        cost=graph_cost.count(path, _counted_shapes(session, serving)),
        trial=tried,
    )


def _serving(model: OnnxDetector | OnnxAnomaly) -> Serving:
    if isinstance(model, OnnxDetector):
        return Serving(
            facts=model.facts,
            head=type(model.head).__module__.rsplit(".", 1)[-1],
            feeding=_flat(asdict(model.head.feeding)),
            decoded_outputs=tuple(model.head.output_names),
            size=model.input_shape.for_frame(_TYPICAL_FRAME),
        )
    told = ("window", "hop", "channels", "rate_hz", "normalisation", "threshold", "fed_shape")
    return Serving(
        facts=model.facts,
        head=model.kind.name,
        feeding={name: getattr(model, name) for name in told},
        decoded_outputs=(),
        size=None,
    )


def _counted_shapes(session: OnnxSession, serving: Serving | None) -> dict[str, tuple[int, ...]]:
    """Of each input for one picture, or window; without those of which a side stays open."""
    shapes = {}
    for index, spec in enumerate(session.inputs):
        sides = (1 if place == 0 and side is None else side for place, side in enumerate(spec.shape))
        shape = tuple(sides)
        if index == 0 and serving is not None:
            shape = _first_shape(serving)
        known = tuple(side for side in shape if side is not None)
        if len(known) == len(shape):
            shapes[spec.name] = known
    return shapes


def _first_shape(serving: Serving) -> tuple[int, ...]:
    if serving.size is not None:
        return (1, 3, serving.size.height_px, serving.size.width_px)
    return tuple(serving.feeding["fed_shape"])


def _serving_json(serving: Serving) -> dict[str, Any]:
    size = serving.size
    return {
        **asdict(serving),
        "size": None if size is None else [size.height_px, size.width_px],
    }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """The innermost entries of nested mappings."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {key: value}
    return flat
