"""Whether a rewritten graph finds the same as the one that it was made from, on this machine's CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.session import OnnxSession, SessionSettings, open_session
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.heads.yolov8_cut import CLASSES, YoloV8CutHead
from agent.vision.letterbox import Size
from agent.workbench.graph.surgery import NotRewritableError

BOX_WITHIN_PX: Final = 1e-3
CONFIDENCE_WITHIN: Final = 1e-5

_GRAINS_PX: Final = (1, 8, 64)
"""Noise of one pixel, and in squares: flat areas and edges are what a picture is made of."""

_COUNTS_FROM: Final = 0.25


@dataclass(frozen=True, slots=True)
class Proof:
    """The greatest differences over so many pictures and all their boxes; `found` of these above 0.25.

    `box_error_px` is of keypoints too.
    """

    pictures: int
    boxes: int
    found: int
    box_error_px: float
    confidence_error: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def prove_exact(exported: OnnxSession, rewritten: OnnxSession, *, size: Size) -> Proof:
    """All outputs equal, bit for bit.

    Raises:
        NotRewritableError: they are not.
    """
    boxes = 0
    for picture in _pictures(exported, size):
        for before, after in zip(exported.run(picture), rewritten.run(picture), strict=True):
            if not np.array_equal(before, after, equal_nan=True):
                apart = float(np.abs(before.astype(np.float64) - after.astype(np.float64)).max())
                raise NotRewritableError(f"the rewritten graph's answer differs by {apart:g}, not by 0")
            boxes += before.shape[-1]
    return Proof(pictures=len(_GRAINS_PX), boxes=boxes, found=0, box_error_px=0.0, confidence_error=0.0)


def prove_cut(
    exported: OnnxSession,
    rewritten: OnnxSession,
    *,
    table_head: YoloV8Head,
    cut_head: YoloV8CutHead,
    size: Size,
) -> Proof:
    """Every column of the exported table equals what the head makes of the logits.

    Raises:
        NotRewritableError: boxes or keypoints differ by more than 1e-3 px, confidences by more than 1e-5.
    """
    boxes = found = 0
    box_error = confidence_error = 0.0
    end = 4 + len(cut_head.class_names)
    for picture in _pictures(exported, size):
        (table,) = _run(exported, picture, table_head.output_names)
        logits = _run(rewritten, picture, cut_head.output_names)
        apart = np.abs(table - cut_head.table(logits, np.arange(table.shape[1]), size))
        # Written so that NaN fails too.
        if not float(apart.max()) < np.inf:
            raise NotRewritableError("a graph gives NaN or infinity for noise")
        boxes += table.shape[1]
        found += int(np.count_nonzero(table[4:end].max(axis=0) > _COUNTS_FROM))
        confidence_error = max(confidence_error, float(apart[4:end].max()))
        box_error = max(box_error, float(apart[:4].max()), float(apart[end:].max(initial=0.0)))
    if box_error > BOX_WITHIN_PX or confidence_error > CONFIDENCE_WITHIN:
        raise NotRewritableError(
            f"the rewritten graph's boxes are off by {box_error:.2g} px and its confidences by "
            f"{confidence_error:.2g}; {BOX_WITHIN_PX:g} and {CONFIDENCE_WITHIN:g} are allowed"
        )
    return Proof(
        pictures=len(_GRAINS_PX),
        boxes=boxes,
        found=found,
        box_error_px=box_error,
        confidence_error=confidence_error,
    )


def open_on_cpu(path: Path) -> OnnxSession:
    """A session that gives its memory back after each run.

    Raises:
        RefusedError: the file is missing or damaged, or this runtime cannot run it.
    """
    return open_session(path, sha256=None, settings=SessionSettings(threads=2, arena=False))


def anchors_of(exported: OnnxSession, head: YoloV8Head, size: Size) -> int:
    """How many columns the exported table has for an input of `size`."""
    (table,) = _run(exported, _pictures(exported, size)[0], head.output_names)
    return int(table.shape[1])


def usual_logit(rewritten: OnnxSession, size: Size) -> float:
    """What the best class of a box in noise usually has: the median over all boxes."""
    (classes,) = _run(rewritten, _pictures(rewritten, size)[0], [CLASSES])
    return float(np.median(classes.max(axis=0)))


def _pictures(session: OnnxSession, size: Size) -> Sequence[NDArray[np.generic]]:
    spec = session.inputs[0]
    rng = np.random.default_rng(0)
    pictures: list[NDArray[np.generic]] = []
    for side in _GRAINS_PX:
        rows, columns = -(-size.height_px // side), -(-size.width_px // side)
        coarse = rng.random((spec.shape[0] or 1, 3, rows, columns), np.float32)
        fine = coarse.repeat(side, axis=2).repeat(side, axis=3)
        pictures.append(fine[:, :, : size.height_px, : size.width_px].astype(spec.dtype))
    return pictures


def _run(
    session: OnnxSession, picture: NDArray[np.generic], outputs: Sequence[str]
) -> list[NDArray[np.float32]]:
    """The first picture's part of each output."""
    return [output[0].astype(np.float32, copy=False) for output in session.run(picture, outputs)]
