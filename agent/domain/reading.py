"""What a sensor says, one value at a time or as a window for a model."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp

Quality = Literal["good", "uncertain", "bad"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one quantity. `unit` is its symbol as people write it (``°C``, ``g``, ``%``)."""

    name: str
    value: float
    unit: str
    at: Stamp
    quality: Quality = "good"


@dataclass(frozen=True, slots=True)
class SensorWindow:
    """Consecutive samples for a model: float32 `[window, channels]`, oldest first, in sensor units."""

    source: SourceName
    first: Stamp
    last: Stamp
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Score:
    """How strange a window is. Above `threshold` it is an anomaly; both in the model's own unit."""

    model: str
    first: Stamp
    last: Stamp
    score: float
    threshold: float
