"""Which head decodes a model: the first family whose layout fits what is known of it."""

from collections.abc import Callable
from typing import Final

from agent.vision.heads import Evidence, Head, yolov8, yolov8_cut

_FAMILIES: Final[tuple[Callable[[Evidence], Head | None], ...]] = (yolov8_cut.fit, yolov8.fit)


def choose_head(evidence: Evidence) -> Head:
    """The head for a model.

    Raises:
        ValueError: none fits; the message says what the output looks like.
    """
    for fit in _FAMILIES:
        head = fit(evidence)
        if head is not None:
            return head
    shapes = ", ".join(str(list(output.shape)) for output in evidence.outputs) or "nothing"
    raise ValueError(
        f"nothing here decodes an output of {shapes} for an input of "
        f"{evidence.input_size.height_px}x{evidence.input_size.width_px}; {_nearest(evidence)}"
    )


def _nearest(evidence: Evidence) -> str:
    """What the layout resembles, and what would be right."""
    wanted = "YOLOv8's [N, 4 + classes, anchors] or its pose form is wanted"
    classes = len(evidence.class_names) if evidence.class_names is not None else None
    for shape in (output.shape for output in evidence.outputs):
        if evidence.end_to_end or (len(shape) == 3 and shape[2] == 6):
            return (
                f"it looks like an export with suppression inside [N, 300, 6]; {wanted}: export without NMS"
            )
        if len(shape) == 3 and classes is not None and shape[2] == 5 + classes:
            return f"it looks like YOLOv5's [N, anchors, 5 + {classes}]; {wanted}"
        if len(shape) == 3 and evidence.task == "pose" and evidence.keypoint_shape is None:
            return f"its metadata lacks kpt_shape; {wanted}"
        if len(shape) == 3 and classes is not None:
            return f"its metadata names {classes} classes; {wanted}"
    return wanted
