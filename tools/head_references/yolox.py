"""YOLOX from its package: cells as exported, and decoded inside (`--decode_in_inference`).

    python -m tools.head_references.yolox

The model, `preproc` and the expected detections (`decode_outputs`, `postprocess`) are the package's own.
"""

from importlib.metadata import version

import torch
from yolox.data.data_augment import preproc
from yolox.models import YOLOPAFPN, YOLOX, YOLOXHead
from yolox.utils.boxes import postprocess

from agent.vision.feeding import Feeding, PixelCode
from tools.head_references.comparing import picture
from tools.head_references.enlivening import enliven
from tools.head_references.feeding import compare_feeding
from tools.head_references.storing import Expected, store

_CLASSES = 6
_COUNTING = 15
_SIZE = (96, 128)
_FRAME = (150, 260)
_LEAST = 0.3
_IOU = 0.45


def build(images: torch.Tensor) -> YOLOX:
    """A nano model with random weights, biased so that some cells of each level count in `images`."""
    torch.manual_seed(7)
    model = YOLOX(YOLOPAFPN(0.33, 0.25, depthwise=True), YOLOXHead(_CLASSES, 0.25, depthwise=True)).eval()
    enliven(model, images)
    head = model.head
    kept: list[torch.Tensor] = []
    for layers, spread in ((head.obj_preds, 0.3), (head.cls_preds, 0.3), (head.reg_preds, 0.1)):
        for layer in layers:
            torch.nn.init.normal_(layer.weight, std=spread)
            torch.nn.init.zeros_(layer.bias)
    for layer in head.obj_preds:
        layer.register_forward_hook(lambda *args: kept.append(args[-1]))
    with torch.no_grad():
        model(images)
        for layer, logits in zip(head.obj_preds, kept, strict=True):
            flat = logits.flatten()
            layer.bias -= flat.topk(min(_COUNTING, len(flat) // 2)).values[-1] - 0.5
    return model


def main() -> None:
    """Write both references."""
    pixels = picture(*_FRAME)
    fed, ratio = preproc(pixels, _SIZE)
    compare_feeding(
        "yolox", Feeding(PixelCode(colours="bgr", scale=1.0), placement="corner"), _SIZE, pixels, fed
    )
    images = torch.from_numpy(fed)[None]
    model = build(images)
    outputs = {}
    with torch.no_grad():
        for name, inside in (("yolox", False), ("yolox_decoded", True)):
            model.head.decode_in_inference = inside
            outputs[name] = model(images)
    (found,) = postprocess(outputs["yolox_decoded"].clone(), _CLASSES, _LEAST, _IOU)
    expected = Expected(
        (found[:, :4] / ratio).numpy(), (found[:, 4] * found[:, 5]).numpy(), found[:, 6].numpy()
    )
    for name, output in outputs.items():
        facts = {
            "task": None,
            "classes": _CLASSES,
            "input_size": _SIZE,
            "frame_size": _FRAME,
            "confidence": _LEAST,
            "iou": _IOU,
            "inputs": ["images"],
            "said": {},
            "versions": {"yolox": version("yolox"), "torch": torch.__version__},
        }
        store(name, {"output": output.numpy()}, expected, facts)


if __name__ == "__main__":
    main()
