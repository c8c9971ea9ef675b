"""What the DETR families share: a fixed set of queries, each a box and its classes, without suppression."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeding
from agent.vision.heads.candidates import Candidates, Selector, check_finite, corners, detections
from agent.vision.heads.sifting import floor_of
from agent.vision.letterbox import Letterbox

# Where float32 rounds a confidence up over its threshold, its logit lies this near below the threshold's.
_LOGIT_MARGIN = 1e-3

# Beyond this the exponential leaves what a float holds; the confidence is 0 long before.
_LEAST_LOGIT = -700.0

Read = Callable[[Sequence[NDArray[np.float32]], Letterbox, float], Candidates]
"""Takes one picture's outputs; gives at least all that is above the confidence given.

Raises: TransientError (the numbers are no detections).
"""


class QueryHead:
    """Decodes what `read` makes of a model's outputs.

    `at_most` bounds the detections of a picture where the family does so itself, by its top-k.
    """

    task: Literal["detect"] = "detect"

    def __init__(
        self,
        *,
        class_names: Mapping[int, str],
        output_names: tuple[str, ...],
        feeding: Feeding,
        read: Read,
        at_most: int | None = None,
    ) -> None:
        self.class_names = class_names
        self.output_names = output_names
        self.feeding = feeding
        self._read = read
        self._selector = Selector(class_names, suppresses=False, at_most=at_most)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Equal confidences keep the order of queries, then of classes."""
        floor = floor_of(thresholds, self._selector.least(thresholds))
        candidates = self._selector.thinned(self._read(outputs, letterbox, floor), thresholds)
        if not len(candidates.confidence):
            return no_detections()
        check_finite(candidates.boxes)
        return detections(candidates, self._selector.select(candidates, letterbox, thresholds), letterbox)


def from_logits(
    boxes: NDArray[np.float32], logits: NDArray[np.float32], letterbox: Letterbox, least: float
) -> Candidates:
    """Of each query, `boxes` `[Q, 4]`, every class of `logits` `[Q, C]` whose sigmoid may be above `least`.

    Raises: TransientError (a logit is NaN).

    Source: `post_process_object_detection` of transformers' RT-DETR: sigmoid, then queries x classes as one.
    """
    # NaN is carried along by max: one look at the whole table.
    if np.isnan(logits.max(initial=-np.inf)):
        raise TransientError("the model gave NaN for a class", code=Code.MODEL)
    query, class_id = np.nonzero(logits > _logit(least) - _LOGIT_MARGIN)
    strength = np.maximum(logits[query, class_id].astype(np.float64), _LEAST_LOGIT)
    confidence = 1.0 / (1.0 + np.exp(-strength))
    return Candidates(from_fractions(boxes[query], letterbox), confidence.astype(np.float32), class_id)


def from_fractions(boxes: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """Centre, width and height `[n, 4]` as fractions of the input -> corners in its pixels."""
    size = letterbox.input
    return corners((boxes * np.array([size.width_px, size.height_px] * 2, np.float32)).T)


def _logit(confidence: float) -> float:
    if confidence <= 0.0:
        return -np.inf
    return np.inf if confidence >= 1.0 else float(np.log(confidence / (1.0 - confidence)))
