"""The model that is measured: which file, and what it is fed."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx import input_shape
from agent.adapters.onnx.metadata import read_detector
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.vision.feeding import Feeder, Feeding
from agent.vision.letterbox import Size

_SHARED: Final = Path("models") / "yolov8n-random-weights.onnx"
_REPOSITORY: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Subject:
    """A detector's file as it was exported, and the one size at which everything here runs it.

    `graph` names what was done to the file: `exported` is nothing.
    """

    path: Path
    sha256: str
    input_name: str
    size: Size
    provider: str
    graph: str = "exported"

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A frame, uint8 `[height, width, 3]` BGR, as the model takes it, float32 `[1, 3, height, width]`."""
        feeder = Feeder(slots=1, size=self.size, feeding=Feeding())
        feeder.put(0, pixels)
        return np.ascontiguousarray(feeder.filled(1), np.float32)


def default_model() -> Path:
    """The test data's YOLOv8n, which is untrained; where that is not to be had, the demo's detector."""
    named = os.environ.get("NANOFLEET_TESTDATA")
    folder = Path(named) if named else _REPOSITORY.parent / "shared" / "testdata"
    shared = folder / _SHARED
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
        path=path, sha256=session.sha256, input_name=first.name, size=size, provider=session.provider_used
    )
