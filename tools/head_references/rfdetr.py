"""RF-DETR from its authors' package: the pretrained models' 91 slots, and a model of classes of one's own.

    python -m tools.head_references.rfdetr [--end-to-end]

The model, the graph that is exported, the preprocessing and the expected detections (`PostProcess`) are the
package's own. Slots that nobody trains are biased away, as training does it.
"""

import copy
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rfdetr._namespace import _namespace_from_configs
from rfdetr.assets.coco_classes import COCO_CLASSES
from rfdetr.config import RFDETRNanoConfig, TrainConfig
from rfdetr.export._runtime.preprocess import preprocess_to_nchw
from rfdetr.export.prepare import prepare_export_graph
from rfdetr.models import PostProcess, build_model

from tools.head_references.comparing import compare_from_input, picture
from tools.head_references.storing import Expected, store

_COUNTING = 3
_LEAST = 0.45
_QUERIES = 60
_NEVER = 20.0
_PICTURES = ((360, 500), (384, 384), (720, 1280))

_TRAINED = {"rfdetr_coco": (90, sorted(COCO_CLASSES)), "rfdetr_own_classes": (5, list(range(5)))}


def build(classes: int, trained: list[int]) -> tuple[RFDETRNanoConfig, torch.nn.Module]:
    """A model with random weights, biased so that of each class a few queries count in the first picture."""
    torch.manual_seed(7)
    # A name for weights that are never read: without one DINOv2's would be fetched.
    config = RFDETRNanoConfig(
        pretrain_weights="none.pth",
        device="cpu",
        num_classes=classes,
        num_queries=_QUERIES,
        num_select=_QUERIES,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(_namespace_from_configs(config, TrainConfig(dataset_dir=None, output_dir=folder)))
    model.eval()
    torch.nn.init.normal_(model.class_embed.weight, std=0.3)
    torch.nn.init.normal_(model.bbox_embed.layers[-1].weight, std=0.05)
    with torch.no_grad():
        logits = model(fed(config, picture(*_PICTURES[0])))["pred_logits"][0]
    with torch.no_grad():
        model.class_embed.bias -= logits.topk(_COUNTING, dim=0).values.mean(dim=0)
        nobody = [slot for slot in range(classes + 1) if slot not in trained]
        model.class_embed.bias[nobody] -= _NEVER
    return config, model


def fed(config: RFDETRNanoConfig, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """A picture, uint8 `[height, width, 3]` BGR, as the package feeds it."""
    image = Image.fromarray(pixels[..., ::-1])
    return torch.from_numpy(preprocess_to_nchw(image, config.resolution, config.resolution))


def detect(
    model: torch.nn.Module, images: torch.Tensor, frame: tuple[int, int]
) -> tuple[dict[str, Any], Expected]:
    """The package's own way from one input to detections; `frame` is height and width of the picture."""
    with torch.no_grad():
        outputs = model(images)
    raw = {name: outputs[name] for name in ("pred_logits", "pred_boxes")}
    (found,) = PostProcess(num_select=_QUERIES)(raw, torch.tensor([frame]))
    keep = found["scores"] > _LEAST
    boxes, scores, labels = (found[name][keep].numpy() for name in ("boxes", "scores", "labels"))
    return outputs, Expected(boxes, scores, labels)


def main(end_to_end: Annotated[bool, typer.Option(help="Export and compare whole models.")] = False) -> None:
    """Write the references; with --end-to-end compare what `load_model` finds in a picture instead."""
    for name, (classes, trained) in _TRAINED.items():
        config, model = build(classes, trained)
        if end_to_end:
            _compare(name, config, model)
            continue
        pixels = picture(*_PICTURES[0])
        outputs, expected = detect(model, fed(config, pixels), _PICTURES[0])
        store(
            name,
            {"dets": outputs["pred_boxes"].numpy(), "labels": outputs["pred_logits"].numpy()},
            expected,
            {
                "task": None,
                "classes": None if classes == 90 else classes,
                "input_size": [config.resolution, config.resolution],
                "frame_size": list(pixels.shape[:2]),
                "confidence": _LEAST,
                "inputs": ["input"],
                "said": {},
                "versions": {"rfdetr": version("rfdetr"), "torch": torch.__version__},
            },
        )


def _compare(name: str, config: RFDETRNanoConfig, model: torch.nn.Module) -> None:
    exported = copy.deepcopy(model)
    exported.export()
    graph = prepare_export_graph(exported, config, shape=(config.resolution,) * 2, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        torch.onnx.export(
            graph.model,
            (graph.input_tensors,),
            path,
            input_names=list(graph.input_names),
            output_names=list(graph.output_names),
            opset_version=17,
            dynamo=False,
        )
        for size in _PICTURES:
            pixels = picture(*size)
            compare_from_input(
                path,
                pixels,
                fed(config, pixels).numpy(),
                _from_input(model, size),
                least=_LEAST,
            )


def _from_input(model: torch.nn.Module, frame: tuple[int, int]) -> Callable[[NDArray[np.float32]], Expected]:
    return lambda fed: detect(model, torch.from_numpy(fed), frame)[1]


if __name__ == "__main__":
    typer.run(main)
