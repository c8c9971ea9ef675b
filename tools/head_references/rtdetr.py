"""RT-DETR and D-FINE from transformers: raw outputs as it writes them, and as the authors' exports end.

    python -m tools.head_references.rtdetr [--end-to-end]

The model and the expected detections are transformers' own (`post_process_object_detection`). The authors'
repositories are no packages: `finish` says in torch what their deploying postprocessor computes
(lyuwenyu/RT-DETR, `rtdetrv2_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py`; D-FINE's is the same).
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import transformers
import typer
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
)
from transformers.modeling_outputs import ModelOutput

from tools.head_references.comparing import compare_from_input, picture
from tools.head_references.enlivening import enliven
from tools.head_references.storing import Expected, store

_SIDE_PX = 640
_CLASSES = 12
_LEAST = 0.45
_COUNTING = 5
_PICTURES = ((360, 500), (640, 640), (720, 1280))

_FAMILIES = {
    "rtdetr": (RTDetrConfig, RTDetrForObjectDetection),
    "dfine": (DFineConfig, DFineForObjectDetection),
}


class Deployed(torch.nn.Module):
    """A model with the end that the authors' exports have: labels, boxes in pixels of the frame, scores."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """`sizes` int64 `[N, 2]`: width and height."""
        return finish(self.model(images), sizes)


def finish(found: ModelOutput, sizes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Labels, boxes and scores; `sizes` int64 `[N, 2]`, width and height."""
    count, queries, classes = found.logits.shape
    scores, index = torch.topk(found.logits.sigmoid().reshape(count, -1), queries)
    centre, half = found.pred_boxes[..., :2], found.pred_boxes[..., 2:] / 2
    corners = torch.cat([centre - half, centre + half], -1) * sizes.repeat(1, 2).unsqueeze(1)
    query = (index // classes).unsqueeze(-1).expand(-1, -1, 4)
    return index % classes, corners.gather(1, query), scores


def build(family: str) -> torch.nn.Module:
    """A model with random weights, biased so that of each class a few queries count in the first picture."""
    torch.manual_seed(7)
    make_config, make_model = _FAMILIES[family]
    model = make_model(make_config(num_labels=_CLASSES, freeze_backbone_batch_norms=False)).eval()
    enliven(model, fed(picture(*_PICTURES[0])))
    # Some layers are there under two names with one set of weights: `named_parameters` gives each once.
    for name, weights in model.named_parameters():
        if ("class_embed" in name or "enc_score_head" in name) and name.endswith("weight"):
            torch.nn.init.normal_(weights, std=0.3)
        elif ("bbox_embed" in name or "enc_bbox_head.layers.2" in name) and name.endswith("weight"):
            torch.nn.init.normal_(weights, std=0.05)
    logits = detect(model, fed(picture(*_PICTURES[0])), _PICTURES[0])[0].logits[0]
    for name, weights in model.named_parameters():
        if "class_embed" in name and name.endswith("bias"):
            weights.data -= logits.topk(_COUNTING, dim=0).values.mean(dim=0)
    return model


def fed(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """A picture, BGR, as transformers feeds it."""
    images = Image.fromarray(pixels[..., ::-1])
    return RTDetrImageProcessor()(images=images, return_tensors="pt")["pixel_values"]


def detect(
    model: torch.nn.Module, images: torch.Tensor, frame: tuple[int, int]
) -> tuple[ModelOutput, Expected]:
    """Transformers' own way from one input to detections; `frame` is height and width of the picture."""
    with torch.no_grad():
        outputs = model(images)
    (found,) = RTDetrImageProcessor().post_process_object_detection(
        outputs, threshold=_LEAST, target_sizes=torch.tensor([frame])
    )
    return outputs, Expected(
        boxes=found["boxes"].numpy(), confidence=found["scores"].numpy(), class_id=found["labels"].numpy()
    )


def main(end_to_end: Annotated[bool, typer.Option(help="Export and compare whole models.")] = False) -> None:
    """Write the references; with --end-to-end compare what `load_model` finds in a picture instead."""
    for family in _FAMILIES:
        model = build(family)
        if end_to_end:
            _compare(family, model)
            continue
        pixels = picture(*_PICTURES[0])
        outputs, expected = detect(model, fed(pixels), _PICTURES[0])
        facts = {
            "task": None,
            "classes": None,
            "input_size": [_SIDE_PX, _SIDE_PX],
            "frame_size": list(pixels.shape[:2]),
            "confidence": _LEAST,
            "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        }
        raw = {"logits": outputs.logits.numpy(), "pred_boxes": outputs.pred_boxes.numpy()}
        store(
            f"{family}_transformers",
            raw,
            expected,
            facts | {"inputs": ["pixel_values"], "said": {"head": family}},
        )
        sizes = torch.tensor([[pixels.shape[1], pixels.shape[0]]])
        deployed = finish(outputs, sizes)
        finished = dict(zip(("labels", "boxes", "scores"), (one.numpy() for one in deployed), strict=True))
        store(
            f"{family}_authors",
            finished,
            expected,
            facts | {"inputs": ["images", "orig_target_sizes"], "said": {}},
        )


def _compare(family: str, model: torch.nn.Module) -> None:
    images = torch.rand(1, 3, _SIDE_PX, _SIDE_PX)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{family}.onnx"
        torch.onnx.export(
            Deployed(model).eval(),
            (images, torch.tensor([[_SIDE_PX, _SIDE_PX]])),
            path,
            input_names=["images", "orig_target_sizes"],
            output_names=["labels", "boxes", "scores"],
            dynamic_axes={"images": {0: "N"}, "orig_target_sizes": {0: "N"}},
            opset_version=17,
            dynamo=False,
        )
        for size in _PICTURES:
            pixels = picture(*size)
            compare_from_input(
                path,
                pixels,
                fed(pixels).numpy(),
                _from_input(model, size),
                least=_LEAST,
            )


def _from_input(model: torch.nn.Module, frame: tuple[int, int]) -> Callable[[NDArray[np.float32]], Expected]:
    return lambda fed: detect(model, torch.from_numpy(fed), frame)[1]


if __name__ == "__main__":
    typer.run(main)
