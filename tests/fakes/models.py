"""Models whose answers a test writes."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.ports import Look, ModelFacts, Timed


def facts(name: str = "people", task: str = "detect") -> ModelFacts:
    return ModelFacts(
        name=name,
        version="1.0.0",
        sha256="ab" * 32,
        task=task,  # type: ignore[arg-type]
        class_names={0: "person"},
        provider_asked="cpu",
        provider_used="cpu",
        graph="exported",
        precision="fp32",
    )


def one_person() -> Detections:
    return Detections(
        boxes=np.array([[1.0, 2.0, 3.0, 4.0]]),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([0], np.int32),
        candidates=1,
    )


class FakeDetector:
    """Fulfils `ports.DetectorModel`; `answer` is asked per look, `gate` can hold every run back."""

    def __init__(
        self,
        name: str = "people",
        *,
        answer: Callable[[Look], Detections] = lambda _look: no_detections(),
        max_batch: int = 1,
        resizable: bool = False,
    ) -> None:
        self.facts = facts(name)
        self.resizable = resizable
        self.max_batch = max_batch
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []
        self._answer = answer

    def detect(self, looks: Sequence[Look]) -> tuple[list[Detections], Timed]:
        preprocessed_ns = time.monotonic_ns()
        assert self.gate.wait(timeout=10)
        self.batches.append(len(looks))
        return [self._answer(look) for look in looks], Timed(preprocessed_ns, time.monotonic_ns())


class FakeAnomalyModel:
    """Fulfils `ports.AnomalyModel`: the score is the mean of the window."""

    def __init__(self, name: str = "motor-anomaly", *, window: int = 4, hop: int = 2) -> None:
        self.facts = facts(name, "anomaly")
        self.window = window
        self.hop = hop
        self.channels = ("x",)
        self.threshold = 0.8

    def score(self, values: NDArray[np.float32]) -> tuple[float, Timed]:
        preprocessed_ns = time.monotonic_ns()
        return float(values.mean()), Timed(preprocessed_ns, time.monotonic_ns())
