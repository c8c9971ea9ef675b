"""The model that is measured: which file, and what it is fed."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx import input_shape, load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.metadata import read_detector
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.vision.feeding import Feeder
from agent.vision.letterbox import Size

_SHARED: Final = Path("models") / "yolov8n-random-weights.onnx"
_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_PREPARE_S: Final = 120.0

SERVED_GRAPH: Final = "cut"
"""The fastest of those that a policy may ask for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A detector's file, and the one size at which everything here runs it.

    `graph` names what was done to the file: `exported` is nothing.
    """

    path: Path
    sha256: str
    input_name: str
    size: Size
    provider: str
    graph: str

    def load(self, *, threads: int) -> OnnxDetector:
        """The model as the agent loads it."""
        # As the agent's start does.
        cv2.setNumThreads(1)
        model = load_model(name="subject", path=self.path, threads=threads)
        if not isinstance(model, OnnxDetector):
            raise TypeError(f"{self.path.name} is no detector")
        return model

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
        """A frame, uint8 `[height, width, 3]` BGR, as the model takes it, `[1, 3, height, width]`."""
        feeder = Feeder(slots=1, size=self.size, feeding=self.load(threads=1).head.feeding)
        feeder.put(0, pixels)
        return feeder.filled(1)

    def rewritten(self, rewrite: str, folder: Path) -> Self:
        """The same model with its graph rewritten as `nanofleet model prepare` does it, if there is any need.

        Raises:
            RuntimeError: it cannot be rewritten.
        """
        path = folder / f"{self.path.stem}-{rewrite}.onnx"
        command = [sys.executable, "-m", "agent.cli", "model", "prepare", str(self.path)]
        done = subprocess.run(
            [*command, "--rewrite", rewrite, "--out", str(path)],
            capture_output=True,
            text=True,
            timeout=_PREPARE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.path.name} cannot be rewritten: {done.stderr.strip()}")
        if not path.exists():
            return self
        return replace(self, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), graph=rewrite)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """One model in three graphs: as exported, with the same answer, and as the agent serves it here."""

    exported: Subject
    exact: Subject
    served: Subject

    @classmethod
    def of(cls, exported: Subject, folder: Path) -> Self:
        """All three, rewritten as `nanofleet model prepare` does it.

        Raises:
            RuntimeError: the model cannot be rewritten.
        """
        return cls(
            exported=exported,
            exact=exported.rewritten("exact", folder),
            served=exported.rewritten(SERVED_GRAPH, folder),
        )


def shared_testdata() -> Path:
    """Where real models and pictures lie, if anywhere."""
    named = os.environ.get("NANOFLEET_TESTDATA")
    return Path(named) if named else _REPOSITORY.parent / "shared" / "testdata"


def default_model() -> Path:
    """The test data's YOLOv8n, which is untrained; where that is not to be had, the demo's detector."""
    shared = shared_testdata() / _SHARED
    return shared if shared.is_file() else Path(str(files("agent.demo") / "models" / "parts.onnx"))


def read_subject(path: Path) -> Subject:
    """Open the file and see what it is.

    Raises:
        RefusedError: it is missing or no model.
        ValueError: it is no detector with a float32 input that this benchmark can feed.
    """
    session = open_session(path, sha256=None, settings=SessionSettings())
    metadata = read_detector(session.metadata)
    first = session.inputs[0]
    if first.dtype != "float32" or len(first.shape) != 4:
        raise ValueError(f"{path.name}: a float32 input [1, 3, height, width] is wanted, not {first}")
    batch, _, height, width = first.shape
    if batch not in {1, None}:
        raise ValueError(f"{path.name}: one picture a run is measured here, the file's batch is {batch}")
    shape = input_shape.choose(
        "file", sides=(height, width), said=metadata.input_size, stride=metadata.stride
    )
    size = shape.for_frame(Size(height or 640, width or 640))
    return Subject(
        path=path,
        sha256=session.sha256,
        input_name=first.name,
        size=size,
        provider=session.provider_used,
        graph="exported",
    )
