"""RF-DETR: `dets [N, Q, 4]`, centres and sizes as fractions of the input, and `labels [N, Q, slots]`, logits.

Pictures are stretched to the square input without antialiasing, RGB, and normalised as ImageNet's. Each pair
of query and class counts by its sigmoid, at most Q of them. The pretrained models have 91 slots, COCO's ids;
one trained on a set of its own has its classes from 0 on, and a last slot that stands for the background.

Source: `PostProcess.forward`, `RFDETR.predict` and `export/_runtime` of rfdetr 1.11.2; transformers writes
the same as `pred_boxes` and `logits` (`RfDetrImageProcessor.post_process_object_detection` of 5.23).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.feeding import Feeding, PixelCode
from agent.vision.heads import Evidence
from agent.vision.heads.candidates import Candidates
from agent.vision.heads.coco import COCO_NAMES, COCO_SLOTS
from agent.vision.heads.queries import QueryHead, from_logits
from agent.vision.letterbox import Letterbox

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

NAMES: Final = frozenset({"rfdetr"})
"""What metadata `head` calls this family."""

LAYOUT: Final = "RF-DETR's dets and labels"

_OWN: Final = ("dets", "labels")
_TRANSFORMERS: Final = ("pred_boxes", "logits")


class RfDetrHead(QueryHead):
    """Decodes the slots that have a name."""


def fit(evidence: Evidence) -> RfDetrHead | None:
    """The head for a model of this family, or None.

    Its keypoint models are another matter: they correct the confidences by the keypoints.
    """
    shapes = {output.name: output.shape for output in evidence.outputs}
    if evidence.task not in {"detect", None} or "keypoints" in shapes or len(evidence.input_names) != 1:
        return None
    names = _TRANSFORMERS if evidence.said.get("head", "").lower() in NAMES and "logits" in shapes else _OWN
    if not shapes.keys() >= set(names):
        return None
    boxes, logits = (shapes[name] for name in names)
    if len(logits) != 3 or boxes != (*logits[:2], 4):
        return None
    class_names = _class_names(logits[2], evidence.class_names)
    if class_names is None:
        return None
    return RfDetrHead(
        class_names=class_names,
        output_names=names,
        feeding=Feeding(
            PixelCode(element=evidence.element, mean=IMAGENET_MEAN, std=IMAGENET_STD), placement="stretch"
        ),
        read=_Reader(class_names),
        at_most=logits[1],
    )


class _Reader:
    """Looks at the slots that have a name: neither the background nor a gap is ever found."""

    def __init__(self, class_names: Mapping[int, str]) -> None:
        self._slots = np.array(sorted(class_names), np.intp)

    def __call__(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, least: float
    ) -> Candidates:
        boxes, logits = outputs
        found = from_logits(boxes, logits[:, self._slots], letterbox, least)
        return Candidates(found.boxes, found.confidence, self._slots[found.class_id])


def _class_names(slots: int, said: Mapping[int, str] | None) -> Mapping[int, str] | None:
    """By slot; None where the file names another number of classes than fits."""
    if said is None:
        made_up = {slot: f"class-{slot}" for slot in range(slots - 1)}
        return COCO_NAMES if slots == COCO_SLOTS else made_up
    if slots == COCO_SLOTS and list(said.values()) == list(COCO_NAMES.values()):
        return COCO_NAMES
    return said if slots - len(said) in {0, 1} else None
