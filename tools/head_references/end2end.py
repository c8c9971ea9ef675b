"""Finished boxes from Ultralytics: YOLOv10, YOLO26, its pose form, and YOLO11 with suppression inside.

    python -m tools.head_references.end2end

The models, the letterbox, the wrapper that its exporter puts around a model, and the expected detections
(`non_max_suppression` and `scale_boxes`, as its predictor calls them) are the library's own.
"""

from types import SimpleNamespace

import numpy as np
import torch
import ultralytics
from ultralytics.data.augment import LetterBox
from ultralytics.engine.exporter import NMSModel
from ultralytics.nn.tasks import DetectionModel, PoseModel
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes, scale_coords

from agent.vision.feeding import Feeding
from tools.head_references.comparing import picture
from tools.head_references.enlivening import enliven
from tools.head_references.feeding import compare_feeding
from tools.head_references.storing import Expected, store

_CLASSES = 6
_COUNTING = 12
_SIZE = (96, 128)
_FRAME = (150, 260)
_LEAST = 0.4
_INSIDE = 0.3
_POINTS = (5, 3)

_MODELS = {
    "yolov10": "yolov10n.yaml",
    "yolo26": "yolo26n.yaml",
    "yolo26_pose": "yolo26n-pose.yaml",
    "nms": "yolo11n.yaml",
}


def build(name: str, images: torch.Tensor) -> torch.nn.Module:
    """A model with random weights, biased so that of each class a few cells count in `images`."""
    torch.manual_seed(7)
    make = PoseModel if name == "yolo26_pose" else DetectionModel
    more = {"data_kpt_shape": _POINTS} if name == "yolo26_pose" else {}
    model = make(_MODELS[name], nc=_CLASSES, verbose=False, **more).eval()
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", False
    if name != "nms":
        # As its exporter switches on the branch that needs no suppression.
        head.end2end = True
    enliven(model, images)
    branch = head.cv3 if name == "nms" else head.one2one_cv3
    kept: list[torch.Tensor] = []
    for level in branch:
        torch.nn.init.normal_(level[-1].weight, std=0.2)
        torch.nn.init.zeros_(level[-1].bias)
        level[-1].register_forward_hook(lambda *args: kept.append(args[-1]))
    with torch.no_grad():
        model(images)
        for level, logits in zip(branch, kept, strict=True):
            flat = logits[0].flatten(1)
            level[-1].bias -= flat.topk(min(_COUNTING, flat.shape[1] // 3), dim=1).values[:, -1]
    if name == "nms":
        head.xyxy = True
        model.names = dict(enumerate(map(str, range(_CLASSES))))
        model.task = "detect"
        options = {"conf": _INSIDE, "iou": 0.45, "max_det": 60, "agnostic_nms": False, "format": "onnx"}
        return NMSModel(model, SimpleNamespace(**options, dynamic=False, batch=1, opset=17))
    return model


def main() -> None:
    """Write the references."""
    pixels = picture(*_FRAME)
    laid = LetterBox(_SIZE, auto=False)(image=pixels)
    fed = np.ascontiguousarray(laid[..., ::-1].transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    compare_feeding("end2end", Feeding(), _SIZE, pixels, fed)
    images = torch.from_numpy(fed)[None]
    for name in _MODELS:
        model = build(name, images)
        with torch.no_grad():
            given = model(images)
        output = given[0] if isinstance(given, tuple | list) else given
        (found,) = non_max_suppression(output.clone(), _LEAST, max_det=300, nc=_CLASSES, end2end=True)
        boxes = scale_boxes(_SIZE, found[:, :4].clone(), _FRAME)
        facts = {
            "task": "detect",
            "classes": _CLASSES,
            "input_size": _SIZE,
            "frame_size": _FRAME,
            "confidence": _LEAST,
            "inputs": ["images"],
            "end_to_end": True,
            "said": {},
            "versions": {"ultralytics": ultralytics.__version__, "torch": torch.__version__},
        }
        if name == "yolo26_pose":
            points = scale_coords(_SIZE, found[:, 6:].clone().view(-1, *_POINTS), _FRAME)
            facts |= {"task": "pose", "keypoint_shape": _POINTS, "keypoints": points.tolist()}
        expected = Expected(boxes.numpy(), found[:, 4].numpy(), found[:, 5].numpy())
        store(name, {"output0": output.numpy()}, expected, facts)


if __name__ == "__main__":
    main()
