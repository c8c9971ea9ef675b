"""Classifiers of whole pictures: `[N, classes]`, confidences or logits. What they find is the whole frame.

Pictures as Ultralytics' `classify_transforms` make them: for a square input the shorter side resized and the
middle cropped, for another one stretched; antialiased; RGB of 0..1. Metadata `mean` and `std` (three numbers
each, of 0..1) say how others normalise: ImageNet's are [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225].

Metadata `activation` is `softmax`, `sigmoid` or `none` (logits, taken through softmax here). Where it is
absent, what the model gave for one picture tells softmax from logits.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Feeding, PixelCode
from agent.vision.heads import Evidence, Output
from agent.vision.heads.candidates import Candidates, Selector, check_confidences, detections
from agent.vision.letterbox import Letterbox

NAMES: Final = frozenset({"classify"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "a classifier's [N, classes]"

# A softmax in half precision over a thousand classes sums to 1 within this.
_NEAR_ONE: Final = 0.02


class ClassifyHead:
    """The classes of a picture, each with the whole frame for its box. `logits`: softmax is still to come."""

    task: Literal["classify"] = "classify"

    def __init__(
        self, *, class_names: Mapping[int, str], output_name: str, feeding: Feeding, logits: bool
    ) -> None:
        self.class_names = class_names
        self.output_names = (output_name,)
        self.feeding = feeding
        self._logits = logits
        self._selector = Selector(class_names, suppresses=False)

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """Every class above its threshold, the surest first."""
        scores = outputs[0].reshape(-1)
        confidence = _softmax(scores) if self._logits else scores
        check_confidences(confidence)
        near = self._selector.near(confidence, thresholds)
        # By way of the input a side might miss the frame's by a rounding.
        as_is = Letterbox.fit(letterbox.frame, letterbox.frame, "stretch")
        whole = np.array([0.0, 0.0, letterbox.frame.width_px, letterbox.frame.height_px], np.float32)
        candidates = Candidates(
            boxes=np.broadcast_to(whole, (len(near.indices), 4)),
            confidence=confidence[near.indices],
            class_id=near.indices,
            left_out=near.left_out,
            known_from=near.known_from,
        )
        return detections(candidates, self._selector.select(candidates, as_is, thresholds), as_is)


def fit(evidence: Evidence) -> ClassifyHead | None:
    """The head for a model that says that it classifies, or None: two axes alone could be anything.

    Raises:
        ValueError: `mean`, `std` or `activation` is wrong, or is needed to tell confidences from logits.
    """
    if evidence.task != "classify" and evidence.said.get("head", "").lower() not in NAMES:
        return None
    for output in evidence.outputs:
        # Some exports keep two axes of length 1 behind.
        if len(output.shape) < 2 or any(side != 1 for side in output.shape[2:]) or output.shape[1] < 2:
            continue
        names = evidence.class_names or {index: f"class-{index}" for index in range(output.shape[1])}
        if len(names) == output.shape[1]:
            return ClassifyHead(
                class_names=names,
                output_name=output.name,
                feeding=_feeding(evidence),
                logits=_gives_logits(evidence, output),
            )
    return None


def _feeding(evidence: Evidence) -> Feeding:
    size = evidence.input_size
    code = PixelCode(
        element=evidence.element,
        mean=_three(evidence, "mean", (0.0, 0.0, 0.0)),
        std=_three(evidence, "std", (1.0, 1.0, 1.0)),
    )
    if min(code.std) <= 0:
        raise ValueError(f"metadata std is {evidence.said['std']!r}; every value must be above 0")
    placement: Literal["crop", "stretch"] = "crop" if size.height_px == size.width_px else "stretch"
    return Feeding(code, placement=placement, shrinking="area")


def _three(evidence: Evidence, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    text = evidence.said.get(key)
    if text is None:
        return default
    try:
        red, green, blue = map(float, json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"metadata {key} is {text[:80]!r}; three numbers [r, g, b] are wanted") from error
    return red, green, blue


def _gives_logits(evidence: Evidence, output: Output) -> bool:
    activation = evidence.said.get("activation")
    if activation is not None:
        if activation not in {"softmax", "sigmoid", "none"}:
            raise ValueError(
                f"metadata activation is {activation[:80]!r}; softmax, sigmoid or none is wanted"
            )
        return activation == "none"
    if output.values is None:
        return False
    if output.values.min() < 0 or output.values.max() > 1:
        return True
    if abs(float(output.values.sum(dtype=np.float64)) - 1.0) <= _NEAR_ONE:
        return False
    raise ValueError(
        "its scores are within 0..1 but do not sum to 1: say `activation` in its metadata, "
        "`sigmoid` for classes that do not exclude each other, `none` for logits"
    )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise TransientError(
            "the model gave NaN or infinity for a class; half precision may have overflowed", code=Code.MODEL
        )
    weights = np.exp(logits - logits.max())
    confidence: NDArray[np.float32] = weights / weights.sum()
    return confidence
