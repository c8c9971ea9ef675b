"""From a module to an ONNX file."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

_OPSET = 17


def export_onnx(
    module: nn.Module,
    example: Tensor,
    path: Path,
    *,
    inputs: Mapping[str, Mapping[int, str]],
    outputs: Mapping[str, Mapping[int, str]],
) -> None:
    """Writes fp32 ONNX; `inputs` and `outputs` name the tensors and, by axis, the sizes that stay free."""
    with warnings.catch_warnings():
        # The tracing exporter needs no further package and writes the smaller graph; it says that it is old.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={**inputs, **outputs},
            opset_version=_OPSET,
            dynamo=False,
        )
