"""What the candidates of a past frame would have given under other thresholds."""

from collections.abc import Mapping

from agent.domain.considered import Considered
from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds
from agent.vision.heads.candidates import Candidates, Selector, detections
from agent.vision.letterbox import Letterbox, Size


class Judge:
    """Judges candidates of one model, by its classes. For one thread."""

    def __init__(self, class_names: Mapping[int, str]) -> None:
        self._class_names = class_names
        self._selectors: dict[tuple[bool, int | None], Selector] = {}

    def judge(self, considered: Considered, thresholds: Thresholds) -> Detections:
        """What the model's head would have found in the same frame, bit for bit, but for keypoints.

        Only as far as the candidates are known: thresholds below `known_from` find no more than there is.
        """
        candidates = Candidates(
            considered.boxes,
            considered.confidence,
            considered.class_id,
            known_from=considered.known_from,
        )
        letterbox = _letterbox(considered)
        selection = self._selector(considered).select(candidates, letterbox, thresholds)
        return detections(candidates, selection, letterbox)

    def _selector(self, considered: Considered) -> Selector:
        kind = (considered.suppresses, considered.at_most)
        if kind not in self._selectors:
            self._selectors[kind] = Selector(
                self._class_names, suppresses=considered.suppresses, at_most=considered.at_most
            )
        return self._selectors[kind]


def _letterbox(considered: Considered) -> Letterbox:
    """As far as the way back to the frame needs it: how large the input was plays no part in that."""
    width_px, height_px = considered.frame
    frame = Size(height_px=height_px, width_px=width_px)
    left_px, top_px = considered.corner
    gain_x, gain_y = considered.gain
    return Letterbox(frame, frame, gain_x, gain_y, frame, left_px, top_px)
