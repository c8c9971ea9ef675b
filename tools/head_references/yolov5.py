"""YOLOv5 from the `yolov5` package: three anchors a cell, objectness, suppression by `non_max_suppression`.

    python -m tools.head_references.yolov5

The model, the letterbox and the expected detections are the package's own. The way back to the frame is
Ultralytics' present one: that of the package leaves out how the sides were rounded, up to half a pixel.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import yolov5
from ultralytics.utils.ops import scale_boxes
from yolov5.models.yolo import DetectionModel
from yolov5.utils.augmentations import letterbox
from yolov5.utils.general import non_max_suppression

from agent.vision.feeding import Feeding
from tools.head_references.comparing import picture
from tools.head_references.enlivening import enliven
from tools.head_references.feeding import compare_feeding
from tools.head_references.storing import Expected, store

_CLASSES = 6
_COUNTING = 6
_SIZE = (96, 128)
_FRAME = (150, 260)
_LEAST = 0.3
_IOU = 0.45


def build(images: torch.Tensor) -> torch.nn.Module:
    """A model with random weights, biased so that some anchors of each level count in `images`."""
    torch.manual_seed(7)
    model = DetectionModel(Path(yolov5.__file__).parent / "models" / "yolov5n.yaml", nc=_CLASSES).eval()
    enliven(model, images)
    for layer in model.model[-1].m:
        torch.nn.init.normal_(layer.weight, std=0.2)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        levels = model(images)[1]
        for layer, level in zip(model.model[-1].m, levels, strict=True):
            strongest = level[0, ..., 4].reshape(3, -1).topk(min(_COUNTING, level[0, 0, ..., 4].numel()))
            layer.bias.view(3, -1)[:, 4] -= strongest.values[:, -1] - 0.5
    return model


def main() -> None:
    """Write the reference."""
    pixels = picture(*_FRAME)
    laid, *_ = letterbox(pixels, _SIZE, auto=False)
    fed = np.ascontiguousarray(laid[..., ::-1].transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    compare_feeding("yolov5", Feeding(), _SIZE, pixels, fed)
    images = torch.from_numpy(fed)[None]
    model = build(images)
    with torch.no_grad():
        output = model(images)[0]
    (found,) = non_max_suppression(output.clone(), _LEAST, _IOU, max_det=300)
    boxes = scale_boxes(_SIZE, found[:, :4].clone(), _FRAME)
    expected = Expected(boxes.numpy(), found[:, 4].numpy(), found[:, 5].numpy())
    facts = {
        "task": None,
        "classes": _CLASSES,
        "input_size": _SIZE,
        "frame_size": _FRAME,
        "confidence": _LEAST,
        "iou": _IOU,
        "inputs": ["images"],
        "said": {"stride": "32"},
        "versions": {"yolov5": version("yolov5"), "torch": torch.__version__},
    }
    store("yolov5", {"output0": output.numpy()}, expected, facts)


if __name__ == "__main__":
    main()
