"""A model file opened by hand: for pictures, with all cores, and one sentence where it is no such thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.adapters.onnx.input_shape import Shape


def open_detector(
    path: Path, *, shape: Shape = "file", provider: str = "cpu", threads: int | None = None
) -> OnnxDetector:
    """A detector or pose model. `threads` of a run: all cores for None.

    Raises:
        RefusedError: there is no such file, it is damaged, or it is no detector that is decoded here.
        ConfigError: the provider cannot be had.
    """
    import cv2

    from agent.adapters.onnx import load_model
    from agent.adapters.onnx.detector import OnnxDetector

    # One picture at a time: its threads belong to the model, not to a second pool.
    cv2.setNumThreads(1)
    loaded = load_model(
        name=path.stem, path=path, provider=provider, shape=shape, threads=threads or all_cores()
    )
    if not isinstance(loaded, OnnxDetector):
        raise RefusedError(
            f"{path.name} is an anomaly model of sensor windows; a detector or pose model is wanted",
            code=Code.MODEL,
        )
    return loaded


def all_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
