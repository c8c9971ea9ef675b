"""What a camera's remembered candidates say class by class: how many were too weak, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.domain.thresholds import Thresholds
from agent.pipeline.recollection import SeenFrame

MOST_CLASSES: Final = 16
"""The most frequent ones are told of."""


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Of one class: `under` of its `candidates` were at or under the threshold `limit`.

    `median` is theirs, None where there are none. A class with a limit above 1 is switched off.
    """

    name: str
    candidates: int
    under: int
    limit: float
    median: float | None

    @property
    def off(self) -> bool:
        return self.limit > 1


def by_class(frames: Sequence[SeenFrame], thresholds: Thresholds) -> list[ClassCounts]:
    """The classes of which most candidates came, the most frequent first. Takes milliseconds."""
    if not frames:
        return []
    names = frames[-1].view.model.class_names
    # Of one model: another's numbers may mean other classes.
    alike = [frame.candidates for frame in frames if frame.view.model is frames[-1].view.model]
    every = np.concatenate(alike)
    found, counts = np.unique(every["class_id"], return_counts=True)
    told = []
    for class_id in found[np.argsort(-counts, kind="stable")][:MOST_CLASSES]:
        name = names.get(int(class_id), f"class-{class_id}")
        limit = thresholds.by_class.get(name, thresholds.confidence)
        confidence = every["confidence"][every["class_id"] == class_id]
        weak = confidence[~(confidence > np.float32(limit))]
        median = round(float(np.median(weak)), 3) if len(weak) else None
        told.append(ClassCounts(name, len(confidence), len(weak), limit, median))
    return told
