"""Small ONNX files that answer as RT-DETR's and RF-DETR's exports do, and let see what they were fed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, helper

from tests.onnx_files import save

QUERY: Final = (0.5, 0.25, 0.2, 0.1)
"""Centre x, centre y, width and height, as fractions of the input, of each file's one strong query."""

_WEAK: Final = (0.1, 0.1, 0.1, 0.1)

Sides = tuple[int | str, int, int | str, int | str]


def rtdetr(
    path: Path,
    *,
    sides: Sides = ("N", 3, 64, 64),
    size_type: str = "int64",
    size_sides: tuple[int | str, ...] = ("N", 2),
    names: tuple[str, str, str] = ("labels", "boxes", "scores"),
    metadata: dict[str, str] | None = None,
) -> Path:
    """As the authors export: two inputs, sizes as width and height; boxes in pixels of the frame.

    The strong query has class 2 and the picture's mean as its confidence; the weak one half of it, class 1.
    """
    corners = np.array([_corners(QUERY), _corners(_WEAK)], np.float32)[None]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "strengths"], [names[2]]),
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["sizes", "sizes"], ["scale"], axis=1),
        helper.make_node("Unsqueeze", ["scale", "one"], ["scales"]),
        helper.make_node("Mul", ["scales", "corners"], [names[1]]),
        helper.make_node("Mul", [names[2], "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "classes"], ["class_numbers"]),
        helper.make_node("Cast", ["class_numbers"], [names[0]], to=TensorProto.INT64),
    ]
    constants = {
        "one": np.array([1]),
        "zero": np.array(0.0, np.float32),
        "strengths": np.array([[1.0, 0.5]], np.float32),
        "corners": corners,
        "classes": np.array([[2.0, 1.0]], np.float32),
    }
    return save(
        path,
        nodes=nodes,
        constants=constants,
        inputs=[("images", "float32", sides), ("orig_target_sizes", size_type, size_sides)],
        outputs=[
            (names[0], "int64", (sides[0], 2)),
            (names[1], "float32", (sides[0], 2, 4)),
            (names[2], "float32", (sides[0], 2)),
        ],
        metadata=metadata or {},
    )


def rfdetr(path: Path, *, slots: int = 91, metadata: dict[str, str] | None = None) -> Path:
    """As RF-DETR exports for an input of 64 x 64.

    The logits of slots 1, 2 and 3 are ten times the means of the three channels as they were fed; those of
    slot 0 and of the last one are 9: nothing may be found there where nothing has a name.
    """
    weights = np.zeros((3, slots), np.float32)
    weights[[0, 1, 2], [1, 2, 3]] = 10.0
    bias = np.full(slots, -5.0, np.float32)
    bias[[1, 2, 3]] = 0.0
    bias[[0, -1]] = 9.0
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["sums"]),
        helper.make_node("Add", ["sums", "bias"], ["strong"]),
        helper.make_node("Unsqueeze", ["strong", "one"], ["strong_query"]),
        helper.make_node("Sub", ["strong_query", "much"], ["weak_query"]),
        helper.make_node("Concat", ["strong_query", *["weak_query"] * 4], ["labels"], axis=1),
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "one"], ["mean_of_each"]),
        helper.make_node("Mul", ["mean_of_each", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "boxes"], ["dets"]),
    ]
    constants = {
        "weights": weights,
        "bias": bias,
        "one": np.array([1]),
        "much": np.array(60.0, np.float32),
        "zero": np.array(0.0, np.float32),
        "boxes": np.array([[QUERY, *[_WEAK] * 4]], np.float32),
    }
    return save(
        path,
        nodes=nodes,
        constants=constants,
        inputs=[("input", "float32", ("batch", 3, 64, 64))],
        outputs=[("dets", "float32", ("batch", 5, 4)), ("labels", "float32", ("batch", 5, slots))],
        metadata=metadata or {},
    )


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
