"""RT-DETR from Ultralytics: 8.4 gives rows of finished boxes, 8.3 every query's classes. Run it with both.

    python -m tools.head_references.rtdetr_ultralytics [--end-to-end]

The model, its export and the expected detections (`RTDETRPredictor`) are the library's own.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer
import ultralytics
from ultralytics import RTDETR
from ultralytics.nn.tasks import RTDETRDetectionModel

from tools.head_references.comparing import compare, picture
from tools.head_references.storing import Expected, store

_CLASSES = 12
_COUNTING = 2
_LEAST = 0.5
_SIDE_PX = 640
_PICTURES = ((360, 500), (640, 640), (720, 1280))


def build(folder: Path) -> RTDETR:
    """A model with random weights, biased so that of each class a few queries count in the first picture."""
    torch.manual_seed(7)
    network = RTDETRDetectionModel("rtdetr-l.yaml", nc=_CLASSES, verbose=False).eval()
    decoder = network.model[-1]
    for layer in decoder.dec_score_head:
        torch.nn.init.normal_(layer.weight, std=0.3)
    for head in decoder.dec_bbox_head:
        torch.nn.init.normal_(head.layers[-1].weight, std=0.05)
    kept: list[torch.Tensor] = []
    hook = decoder.dec_score_head[-1].register_forward_hook(lambda *args: kept.append(args[-1]))
    stretched = cv2.resize(picture(*_PICTURES[0]), (_SIDE_PX, _SIDE_PX))[..., ::-1].transpose(2, 0, 1)
    with torch.no_grad():
        network(torch.from_numpy(stretched.copy()).float()[None] / 255)
        hook.remove()
        decoder.dec_score_head[-1].bias -= kept[-1][0].topk(_COUNTING, dim=0).values.mean(dim=0)
    path = folder / "rtdetr-l.pt"
    torch.save({"model": network, "train_args": {"task": "detect", "imgsz": _SIDE_PX}}, path)
    return RTDETR(path)


def main(end_to_end: Annotated[bool, typer.Option(help="Export and compare whole models.")] = False) -> None:
    """Write the reference; with --end-to-end compare what `load_model` finds in a picture instead."""
    with tempfile.TemporaryDirectory() as folder:
        model = build(Path(folder))
        expected = []
        for size in _PICTURES:
            (found,) = model.predict(picture(*size), imgsz=_SIDE_PX, conf=_LEAST, verbose=False)
            boxes = found.boxes
            expected.append(
                Expected(boxes.xyxy.numpy(), confidence=boxes.conf.numpy(), class_id=boxes.cls.numpy())
            )
        if end_to_end:
            path = Path(model.export(format="onnx", imgsz=_SIDE_PX, simplify=False))
            for size, one in zip(_PICTURES, expected, strict=True):
                compare(path, picture(*size), one, least=_LEAST)
            return
        predictor = model.predictor
        given = predictor.inference(predictor.preprocess([picture(*_PICTURES[0])]))
        output = given[0] if isinstance(given, list | tuple) else given
        finished = output.shape[-1] == 6
        facts = {
            "task": "detect",
            "classes": _CLASSES,
            "input_size": [_SIDE_PX, _SIDE_PX],
            "frame_size": list(_PICTURES[0]),
            "confidence": _LEAST,
            "inputs": ["images"],
            "said": {"head": "RTDETRDecoder"} if finished else {"description": "Ultralytics rtdetr-l model"},
            "versions": {"ultralytics": ultralytics.__version__, "torch": torch.__version__},
        }
        name = "rtdetr_ultralytics_rows" if finished else "rtdetr_ultralytics_classes"
        store(name, {"output0": output.numpy()}, expected[0], facts)


if __name__ == "__main__":
    typer.run(main)
