"""A model file opened by hand: for pictures, with all cores, and one sentence where it is no such thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.domain.errors import Code, ConfigError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.adapters.onnx.input_shape import Shape


def open_detector(
    path: Path,
    *,
    shape: Shape = "file",
    provider: str = "cpu",
    threads: int | None = None,
    falls_back: bool = False,
) -> OnnxDetector:
    """A detector or pose model. `threads` of a run: all cores for None.

    With `falls_back` another provider than the one asked for may run it, which the log tells.

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
    if not falls_back:
        need_provider(path, asked=provider, used=loaded.facts.provider_used)
    return loaded


def need_provider(path: Path, *, asked: str, used: str) -> None:
    """What is found out about a model on one provider says nothing of another.

    Raises:
        ConfigError: `used` is not the provider that was `asked` for.
    """
    if used != asked:
        raise ConfigError(
            f"{path.name} was to run on {asked}, but {used} would run it here, for the reason told above; "
            f"--provider {used} looks at that",
            code=Code.PROVIDER,
            path="provider",
        )


def all_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
