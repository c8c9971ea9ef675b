"""How far two models agree on one picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.domain.detections import Detections
from agent.vision.overlap import overlaps

SAME_OBJECT_IOU: Final = 0.5
"""From this overlap on two boxes are taken for one object. Source: PASCAL VOC's detection criterion."""


@dataclass(frozen=True, slots=True)
class Concordance:
    """Counts and sums over pictures: `+` adds them up.

    `first` and `second`: objects that each model found. `matched`: those that both found, whatever their
    class; of these `classes_differ`, and the sums of IoU and of the second's confidence less the first's.
    """

    frames: int = 0
    first: int = 0
    second: int = 0
    matched: int = 0
    classes_differ: int = 0
    iou_sum: float = 0.0
    confidence_sum: float = 0.0

    def __add__(self, other: "Concordance") -> "Concordance":
        return Concordance(
            self.frames + other.frames,
            self.first + other.first,
            self.second + other.second,
            self.matched + other.matched,
            self.classes_differ + other.classes_differ,
            self.iou_sum + other.iou_sum,
            self.confidence_sum + other.confidence_sum,
        )

    @property
    def agreement(self) -> float:
        """Twice the objects that both found and call the same, over all that either found; 1 for none at all.

        Source: the Dice coefficient, which is F1 with either model as the truth.
        """
        return _over(2 * (self.matched - self.classes_differ), self.first + self.second, none=1.0)

    @property
    def found_of_first(self) -> float:
        """Of the first model's objects, the share that the second found too: the second's recall."""
        return _over(self.matched, self.first, none=1.0)

    @property
    def confirmed_of_second(self) -> float:
        """Of the second model's objects, the share that the first found too: the second's precision."""
        return _over(self.matched, self.second, none=1.0)

    @property
    def mean_iou(self) -> float | None:
        return self.iou_sum / self.matched if self.matched else None

    @property
    def mean_confidence_difference(self) -> float | None:
        """The second's confidence less the first's, of the same objects."""
        return self.confidence_sum / self.matched if self.matched else None


def compare(
    first: Detections,
    second: Detections,
    *,
    first_names: Mapping[int, str],
    second_names: Mapping[int, str],
) -> Concordance:
    """Match the boxes of one picture, each with one of the other model's, the best overlaps first.

    Classes are compared by name, for two models may number them differently.
    """
    alike = overlaps(first.boxes, second.boxes)
    matched = classes_differ = 0
    iou_sum = confidence_sum = 0.0
    while alike.size and alike.max() >= SAME_OBJECT_IOU:
        a, b = (int(index) for index in np.unravel_index(alike.argmax(), alike.shape))
        matched += 1
        iou_sum += float(alike[a, b])
        confidence_sum += float(second.confidence[b]) - float(first.confidence[a])
        name, other = first_names.get(int(first.class_id[a])), second_names.get(int(second.class_id[b]))
        classes_differ += name != other
        alike[a, :] = alike[:, b] = -1.0
    return Concordance(1, len(first), len(second), matched, classes_differ, iou_sum, confidence_sum)


def _over(part: float, whole: float, *, none: float) -> float:
    return part / whole if whole else none
