"""What the worker and the sensors hand to eventing."""

from dataclasses import dataclass

from agent.domain.detections import Detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.reading import Reading, Score
from agent.domain.stamp import Stamp
from agent.ports import ModelFacts


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was found in one frame; of the picture itself only its size is kept."""

    source: SourceName
    number: int
    width_px: int
    height_px: int
    captured: Stamp
    detections: Detections
    model: ModelFacts
    lane: int
    timing: InferenceTiming
    config_version: int | None = None
    """Of the policy by which it was inferred, where that is known."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """How strange one window is."""

    source: SourceName
    score: Score
    timing: InferenceTiming


@dataclass(frozen=True, slots=True)
class SensorReadings:
    """What a sensor said, oldest first."""

    source: SourceName
    readings: tuple[Reading, ...]


Result = FrameResult | WindowResult | SensorReadings
