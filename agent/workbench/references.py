"""Other runtimes for the same graph, to hold a model's results against.

Each runs like an `onnxruntime.InferenceSession`, so that feeding and decoding stay the agent's own and only
the arithmetic is another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from agent.adapters.onnx.session import OnnxSession
from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.adapters.onnx.detector import OnnxDetector

RUNTIMES: Final = ("unoptimised", "opencv", "onnx")
"""ONNX Runtime without graph optimisation; OpenCV's own engine; the reference evaluator of `onnx`."""


class Runtime(Protocol):
    """What of `onnxruntime.InferenceSession` an `OnnxSession` uses."""

    def run(
        self, names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]
    ) -> Sequence[NDArray[Any]]: ...
    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...
    def get_modelmeta(self) -> Any: ...
    def get_providers(self) -> Sequence[str]: ...


class Recorded:
    """A runtime that keeps what it gave last, for raw outputs to be compared."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.last: list[NDArray[Any]] = []

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.last = list(self._runtime.run(names, feeds))
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def record(detector: OnnxDetector) -> tuple[OnnxDetector, Recorded]:
    """The same detector, and where its raw outputs are kept."""
    return on_runtime(detector, detector.session.runtime)


def on_runtime(detector: OnnxDetector, runtime: Runtime) -> tuple[OnnxDetector, Recorded]:
    """The same file, fed and decoded alike, run by `runtime`."""
    recorded = Recorded(runtime)
    session = OnnxSession(recorded, path=detector.session.path, sha256=detector.session.sha256)
    return detector.on(session), recorded


def open_runtime(name: str, detector: OnnxDetector) -> Runtime:
    """One of `RUNTIMES` with the detector's file.

    Raises:
        RefusedError: it does not take this file, or the package `onnx` is missing.
    """
    path = detector.session.path
    if name == "unoptimised":
        return _unoptimised(path)
    if name == "opencv":
        return OpenCvRuntime(path, like=detector.session.runtime)
    return EvaluatorRuntime(path, like=detector.session.runtime)


def _unoptimised(path: Path) -> Runtime:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    runtime: Runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return runtime


class _Alike:
    """Says of inputs, outputs and metadata what ONNX Runtime said of the same file."""

    def __init__(self, path: Path, *, like: Runtime) -> None:
        self._like = like
        self._name = path.name
        self._outputs = [node.name for node in like.get_outputs()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._like, name)


class OpenCvRuntime(_Alike):
    """OpenCV's engine for neural networks: other kernels, written by other people."""

    def __init__(self, path: Path, *, like: Runtime) -> None:
        super().__init__(path, like=like)
        import cv2

        self._errors = cv2.error
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise RefusedError(f"OpenCV cannot read {path.name}: {_first(error)}", code=Code.MODEL) from error

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Raises: RefusedError (OpenCV lacks an operator, or fails)."""
        try:
            for name, feed in feeds.items():
                # OpenCV keeps a view of the blob, which is a lane's tensor and written again.
                self._net.setInput(np.ascontiguousarray(feed).copy(), name)
            return [np.asarray(one) for one in self._net.forward(list(names or self._outputs))]
        except self._errors as error:
            raise RefusedError(f"OpenCV cannot run {self._name}: {_first(error)}", code=Code.MODEL) from error


class EvaluatorRuntime(_Alike):
    """The evaluator that the ONNX project defines its operators by: exact, and a hundred times slower."""

    def __init__(self, path: Path, *, like: Runtime) -> None:
        super().__init__(path, like=like)
        try:
            from onnx.reference import ReferenceEvaluator
        except ImportError as error:
            raise RefusedError(
                "the reference runtime onnx needs nanofleet with the extra `models`", code=Code.MODEL
            ) from error
        self._evaluator = ReferenceEvaluator(str(path))

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return [np.asarray(one) for one in self._evaluator.run(list(names or self._outputs), dict(feeds))]


def _first(error: Exception) -> str:
    """OpenCV's words on one line."""
    return " ".join(str(error).split())[:200]
