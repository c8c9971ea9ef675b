"""RT-DETR and D-FINE, as three exporters write them; pictures are stretched to the input, RGB, 0..1.

* The authors' own: inputs `images` and a second one, the frame's width and height; outputs `labels [N, Q]`,
  `boxes [N, Q, 4]` (corners in pixels of the frame) and `scores [N, Q]`, the best of queries x classes.
  Source: `tools/export_onnx.py` and the deploying `RTDETRPostProcessor` of lyuwenyu/RT-DETR, which D-FINE
  and DEIM took over; `T.Resize((640, 640))` and `[[w, h]]` in their `rtdetrv2_onnxruntime.py`.
* Ultralytics': `[N, Q, 6]`, rows of centre, size (fractions of the input), confidence, class; up to 8.3
  `[N, Q, 4 + classes]`, of which each query's best class counts.
  Source: `RTDETRDecoder.postprocess` and `RTDETRPredictor.postprocess` of 8.4.190 and of 8.3.40.
* transformers' (also by optimum): `logits [N, Q, classes]` before the sigmoid and `pred_boxes [N, Q, 4]`,
  fractions of the input. Source: `RTDetrImageProcessor.post_process_object_detection` of 5.23.

Neither the authors' files nor transformers' name classes: put `names` into the metadata, or they go by
number.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.feeding import Feeding, PixelCode
from agent.vision.heads import Evidence
from agent.vision.heads.candidates import Candidates, check_confidences, class_ids
from agent.vision.heads.queries import QueryHead, Read, from_fractions, from_logits
from agent.vision.letterbox import Letterbox

NAMES: Final = frozenset({"rtdetr", "rtdetrv2", "rtdetrdecoder", "dfine", "deim"})
"""What metadata `head` calls this family; Ultralytics writes the name of its class."""

LAYOUT: Final = "RT-DETR's labels, boxes and scores"

_FINISHED: Final = ("labels", "boxes", "scores")
_LOGITS: Final = ("logits", "pred_boxes")
_QUERIES: Final = 300

# transformers' DETR, YOLOS and Deformable DETR write the same two outputs, but with COCO's 91 ids: 80
# classes are these families' alone. What is trained for other classes has to say `head` in its metadata.
_COCO_CLASSES: Final = 80


class RtDetrHead(QueryHead):
    """Decodes one of the three layouts."""


def fit(evidence: Evidence) -> RtDetrHead | None:
    """The head for a model of these families, or None."""
    if evidence.task not in {"detect", None}:
        return None
    shapes = {output.name: output.shape for output in evidence.outputs}
    if len(evidence.input_names) == 2:
        return _authors(evidence, shapes)
    if len(shapes) == 1:
        return _ultralytics(evidence)
    return _transformers(evidence, shapes)


def _authors(evidence: Evidence, shapes: dict[str, tuple[int, ...]]) -> RtDetrHead | None:
    if not shapes.keys() >= set(_FINISHED):
        return None
    boxes = shapes["boxes"]
    if len(boxes) != 3 or boxes[2] != 4 or not shapes["labels"] == shapes["scores"] == boxes[:2]:
        return None
    return RtDetrHead(
        class_names=evidence.class_names or {},
        output_names=_FINISHED,
        feeding=_feeding(evidence, antialiased=True, size_input=evidence.input_names[1]),
        read=partial(_read_finished, evidence.class_names or {}),
    )


def _ultralytics(evidence: Evidence) -> RtDetrHead | None:
    """Its metadata tells: `head` since 8.4, the model's name in `description` before.

    Without either, 300 rows of 4 + classes are nobody else's, unless there are two classes.
    """
    name, shape = evidence.outputs[0].name, evidence.outputs[0].shape
    if len(shape) != 3:
        return None
    classes = len(evidence.class_names or ())
    by_head = evidence.said.get("head", "").lower() in NAMES
    by_name = "rtdetr" in evidence.said.get("description", "").lower()
    by_shape = shape[1] == _QUERIES and shape[2] != 6
    if shape[2] == 6 and (by_head or (by_name and classes != 2)):
        read: Read = partial(_read_rows, evidence.class_names or {})
    elif classes and shape[2] == 4 + classes and (by_head or by_name or by_shape):
        read = _read_classes
    else:
        return None
    return RtDetrHead(
        class_names=evidence.class_names or {},
        output_names=(name,),
        feeding=_feeding(evidence, antialiased=False),
        read=read,
    )


def _transformers(evidence: Evidence, shapes: dict[str, tuple[int, ...]]) -> RtDetrHead | None:
    if not shapes.keys() >= set(_LOGITS):
        return None
    logits, boxes = (shapes[name] for name in _LOGITS)
    if len(logits) != 3 or boxes != (*logits[:2], 4):
        return None
    if evidence.class_names is not None and len(evidence.class_names) != logits[2]:
        return None
    by_head = evidence.said.get("head", "").lower() in NAMES
    if not by_head and logits[1:] != (_QUERIES, _COCO_CLASSES):
        return None
    return RtDetrHead(
        class_names=evidence.class_names or {},
        output_names=_LOGITS,
        feeding=_feeding(evidence, antialiased=True),
        read=_read_logits,
        at_most=logits[1],
    )


def _feeding(evidence: Evidence, *, antialiased: bool, size_input: str | None = None) -> Feeding:
    """Torchvision and Pillow shrink with antialiasing, OpenCV without: each trainer's own way."""
    return Feeding(
        PixelCode(element=evidence.element),
        placement="stretch",
        shrinking="area" if antialiased else "linear",
        size_input=size_input,
    )


def _read_finished(
    class_names: Mapping[int, str],
    outputs: Sequence[NDArray[np.float32]],
    letterbox: Letterbox,
    least: float,
) -> Candidates:
    labels, boxes, scores = outputs
    check_confidences(scores)
    rows = np.flatnonzero(scores > least)
    # They are in pixels of what the input shows, at the frame's own scale.
    gain = np.array([letterbox.input.width_px, letterbox.input.height_px] * 2, np.float64)
    gain /= [letterbox.shown.width_px, letterbox.shown.height_px] * 2
    corners = (boxes[rows] * gain).astype(np.float32)
    return Candidates(corners, scores[rows], class_ids(labels[rows], class_names))


def _read_rows(
    class_names: Mapping[int, str],
    outputs: Sequence[NDArray[np.float32]],
    letterbox: Letterbox,
    least: float,
) -> Candidates:
    (output,) = outputs
    check_confidences(output[:, 4])
    rows = output[output[:, 4] > least]
    return Candidates(from_fractions(rows[:, :4], letterbox), rows[:, 4], class_ids(rows[:, 5], class_names))


def _read_classes(outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, least: float) -> Candidates:
    (output,) = outputs
    best = output[:, 4:].max(axis=1)
    check_confidences(best)
    rows = np.flatnonzero(best > least)
    return Candidates(
        from_fractions(output[rows, :4], letterbox), best[rows], output[rows, 4:].argmax(axis=1)
    )


def _read_logits(outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, least: float) -> Candidates:
    logits, boxes = outputs
    return from_logits(boxes, logits, letterbox, least)
