"""`[N, A, 5 + classes]`: of each anchor a box, how sure it is that anything is there, and one score a class.

A class's confidence is objectness times score. What the four numbers of a box are, its family knows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections, no_detections
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeding
from agent.vision.heads.candidates import (
    GREATEST_CONFIDENCE,
    Candidates,
    Selector,
    check_confidences,
    check_finite,
    corners,
    detections,
)
from agent.vision.heads.sifting import floor_of, sift
from agent.vision.letterbox import Letterbox, Size

_OBJECTNESS: Final = 4
BEFORE_CLASSES: Final = 5
"""Numbers of an anchor that come before its classes."""


class ObjectnessHead(ABC):
    """Decodes outputs of this form; a family says by `place` where its boxes are.

    `scored` is False where classes carry no score: objectness is all.
    """

    task: Literal["detect"] = "detect"

    def __init__(
        self,
        *,
        class_names: Mapping[int, str],
        output_name: str,
        feeding: Feeding,
        scored: bool = True,
    ) -> None:
        self.class_names = class_names
        self.output_names = (output_name,)
        self.feeding = feeding
        self._scored = scored
        self._selector = Selector(class_names)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Objectness first: no class of an anchor can be surer than it.

        What objectness leaves out of the weak ones is counted among those under their threshold, though its
        classes, which might have taken it below the floor, were not looked at.
        """
        (output,) = outputs
        objectness = output[:, _OBJECTNESS]
        check_confidences(objectness)
        least = self._selector.least(thresholds)
        floor = floor_of(thresholds, least)
        near = sift(objectness, least=least / GREATEST_CONFIDENCE, floor=floor / GREATEST_CONFIDENCE)
        anchors = near.indices
        if not len(anchors):
            return no_detections()
        rows = output[anchors].T
        confidence, class_id = self._classes(rows)
        # What is no box may become infinite, which is told below.
        with np.errstate(over="ignore", invalid="ignore"):
            boxes = corners(self.place(rows[:_OBJECTNESS], anchors, letterbox.input))
        known_from = near.known_from * GREATEST_CONFIDENCE if near.left_out else floor
        candidates = Candidates(boxes, confidence, class_id, near.left_out, known_from)
        check_finite(candidates.boxes)
        return detections(candidates, self._selector.select(candidates, letterbox, thresholds), letterbox)

    @abstractmethod
    def place(self, boxes: NDArray[np.float32], anchors: NDArray[np.intp], size: Size) -> NDArray[np.float32]:
        """Centre x, y, width and height `[4, n]` in pixels of the input, of its `size`.

        `boxes` `[4, n]` are the first numbers of the anchors with the indices `anchors`.
        """

    def _classes(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        if not self._scored:
            return rows[_OBJECTNESS], np.zeros(rows.shape[1], np.intp)
        scores = rows[BEFORE_CLASSES:]
        class_id = scores.argmax(axis=0)
        # numpy's maximum carries NaN along.
        best = scores.max(axis=0)
        check_confidences(best)
        return best * rows[_OBJECTNESS], class_id
