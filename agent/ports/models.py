"""Models that lanes run."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds

Graph = Literal["exported", "exact", "cut"]
"""The trainer's graph, or what was made of it: equal bit for bit, or cut and decoded by its head."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a loaded model is, for messages and reports.

    `sha256` is of the file that the policy names, whatever graph was made of it. `precision`: what it
    computes in (fp32, fp16, bf16, int8, …).
    """

    name: str
    version: str
    sha256: str
    task: Literal["detect", "pose", "classify", "anomaly"]
    class_names: Mapping[int, str]
    provider_asked: str
    provider_used: str
    graph: Graph
    precision: str


@dataclass(frozen=True, slots=True)
class Look:
    """One picture for a detector, with the rules for what counts.

    `scale`: the fraction of its own input size that the detector runs at, where it is `resizable`.
    """

    pixels: NDArray[np.uint8]
    thresholds: Thresholds
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Timed:
    """Monotonic nanoseconds when feeding ended and when the run ended."""

    preprocessed_ns: int
    inferred_ns: int


class DetectorModel(Protocol):
    """A loaded detector or pose model. Lane threads call it, several at once."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def max_batch(self) -> int:
        """Most pictures in one `detect`; 1 where the device gains nothing by more."""

    @property
    def resizable(self) -> bool:
        """Whether its file leaves the input's size open, so that a look may ask for a smaller one."""

    def detect(self, looks: Sequence[Look]) -> tuple[list[Detections], Timed]:
        """One result a look, in their order; boxes in pixels of each look's own picture.

        Raises:
            TransientError: the runtime failed on this input.
        """


class AnomalyModel(Protocol):
    """A loaded model of sensor windows. Every lane thread calls it."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def window(self) -> int:
        """Samples per window."""

    @property
    def hop(self) -> int:
        """Samples from one window's beginning to the next one's."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the readings that make the columns, in order."""

    @property
    def threshold(self) -> float: ...

    def score(self, values: NDArray[np.float32]) -> tuple[float, Timed]:
        """The anomaly score of one window, float32 `[window, channels]` in sensor units.

        Raises:
            TransientError: the runtime failed on this input.
        """


Model = DetectorModel | AnomalyModel


class ModelUpgrade(Protocol):
    """A faster way to run a model that serves already, which takes minutes to make."""

    @property
    def serving(self) -> DetectorModel:
        """What serves until then."""

    def build(self, *, tell: Callable[[float], None], stop: threading.Event) -> DetectorModel:
        """The same model, made faster. One thread of its own calls this once; it blocks until all is done.

        `tell` hears, now and then, how many seconds the work has taken; `stop` ends it soon.

        Raises:
            NanofleetError: it cannot be made, or was stopped; what serves is as it was.
        """
