"""Which head decodes a model: the family that its metadata names, else the first whose layout fits."""

from collections.abc import Callable, Mapping
from typing import Final

from agent.vision.heads import (
    Evidence,
    Head,
    classify,
    end2end,
    rfdetr,
    rtdetr,
    yolov5,
    yolov8,
    yolov8_cut,
    yolox,
)
from agent.vision.heads.grid import strides_for

Fit = Callable[[Evidence], Head | None]

# What takes the metadata's word comes first. Anchors are counted before rows are taken for finished boxes,
# which have no number of their own.
_FAMILIES: Final[tuple[Fit, ...]] = (
    yolov8_cut.fit,
    classify.fit,
    rtdetr.fit,
    rfdetr.fit,
    yolov8.fit,
    yolov5.fit,
    yolox.fit,
    end2end.fit,
)

_LAYOUTS: Final[tuple[tuple[frozenset[str], Fit, str], ...]] = (
    (yolov8.NAMES, yolov8.fit, yolov8.LAYOUT),
    (yolov5.NAMES, yolov5.fit, yolov5.LAYOUT),
    (yolox.NAMES, yolox.fit, yolox.LAYOUT),
    (end2end.NAMES, end2end.fit, end2end.LAYOUT),
    (rtdetr.NAMES, rtdetr.fit, rtdetr.LAYOUT),
    (rfdetr.NAMES, rfdetr.fit, rfdetr.LAYOUT),
    (classify.NAMES, classify.fit, classify.LAYOUT),
)
_BY_NAME: Final[Mapping[str, tuple[Fit, str]]] = {
    name: (fit, layout) for names, fit, layout in _LAYOUTS for name in names
}


def choose_head(evidence: Evidence) -> Head:
    """The head for a model. Metadata `head`, where it is one of ours, is taken at its word.

    Raises:
        ValueError: none fits; the message says what the output looks like.
    """
    named = _BY_NAME.get(evidence.said.get("head", "").lower())
    for fit in _FAMILIES if named is None else (yolov8_cut.fit, named[0]):
        head = fit(evidence)
        if head is not None:
            return head
    shapes = ", ".join(str(list(output.shape)) for output in evidence.outputs) or "nothing"
    raise ValueError(
        f"nothing here decodes an output of {shapes} for an input of "
        f"{evidence.input_size.height_px}x{evidence.input_size.width_px}; "
        f"{_nearest(evidence) if named is None else _not_as_said(evidence, named[1])}"
    )


def _not_as_said(evidence: Evidence, layout: str) -> str:
    classes = f" of {len(evidence.class_names)} classes" if evidence.class_names is not None else ""
    return f"its metadata says head={evidence.said['head']}{classes}, so {layout} is wanted"


def _nearest(evidence: Evidence) -> str:
    """What the layout resembles, and what would be right."""
    names = {output.name for output in evidence.outputs}
    if len(evidence.input_names) > 1:
        return f"of models with a second input, one with {rtdetr.LAYOUT} is known"
    if names >= {"logits", "pred_boxes"}:
        return (
            "it looks like one of transformers' DETRs: say head=rtdetr or head=rfdetr, if it is one of these"
        )
    if names >= {"dets", "labels"}:
        return f"it looks like {rfdetr.LAYOUT}, but not for boxes and as many classes as its metadata names"
    for shape in (output.shape for output in evidence.outputs):
        guess = _guess(shape, evidence)
        if guess is not None:
            return guess
    return f"known are {', '.join(layout for _, _, layout in _LAYOUTS)}"


def _guess(shape: tuple[int, ...], evidence: Evidence) -> str | None:
    classes = len(evidence.class_names) if evidence.class_names is not None else None
    guess: str | None
    match shape:
        case (_, 7):
            guess = "it looks like YOLOv7's with suppression inside: export it without"
        case (_, _):
            guess = f"it looks like {classify.LAYOUT}: say task=classify in its metadata, if it is one"
        case (_, _, _) if evidence.task == "pose" and evidence.keypoint_shape is None:
            guess = f"its metadata lacks kpt_shape, for the pose form of {yolov8.LAYOUT}"
        case (_, _, _) if evidence.end_to_end:
            guess = f"its metadata says that its boxes are finished, so {end2end.LAYOUT} is wanted"
        case (_, _, last) if classes is not None and last == 4 + classes:
            guess = f"it looks like {yolov8.LAYOUT} with the last two axes swapped: export it unswapped"
        case (_, _, last) if classes is not None and last == 5 + classes:
            guess = (
                f"it looks like {yolov5.LAYOUT} or {yolox.LAYOUT}, but not with the anchors of this input: "
                "say `head` in its metadata"
            )
        case (_, _, _) if classes is not None:
            guess = f"its metadata names {classes} classes, another number than {yolov8.LAYOUT} has room for"
        case (_, rows, last) if rows > last:
            guess = (
                f"it may be {yolox.LAYOUT}, or {yolov8.LAYOUT} with the last two axes swapped: "
                "say `head` and `names` in its metadata"
            )
        case (_, rows, anchors) if strides_for(evidence.input_size, anchors) is not None and rows > 4:
            guess = (
                f"it may be {yolov8.LAYOUT} with keypoints or masks, or without its sigmoid: "
                "say `task` and `names` in its metadata, and for poses `kpt_shape`"
            )
        case _:
            guess = None
    return guess
