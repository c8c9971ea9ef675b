"""What counts as found: the thresholds that one model uses for one source."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The rules by which candidates become detections.

    `confidence` in 0..1 holds for every class that `by_class` (keyed by class name) does not name;
    1.01 or more switches a class off. `iou` in 0..1 is the overlap above which the weaker of two boxes
    of one class goes. At most `max_objects` are kept; a box with a side under `min_side_px` (source
    pixels) is dropped. From the confidence `floor` on, candidates are told of even where they do not count;
    None: nobody asks.
    """

    confidence: float = 0.25
    iou: float = 0.45
    max_objects: int = 300
    min_side_px: float = 0.0
    by_class: Mapping[str, float] = field(default_factory=dict)
    floor: float | None = None
