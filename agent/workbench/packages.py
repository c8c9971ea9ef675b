"""A model package held to its own golden results, as a node does before it serves from it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from agent.adapters.models import open_package
from agent.adapters.onnx import load_model
from agent.adapters.onnx.admission import Admission, Standards, admit
from agent.workbench.opening import all_cores, need_provider

if TYPE_CHECKING:
    from agent.adapters.onnx.input_shape import Shape


def admit_package(
    path: Path, *, shape: Shape = "file", provider: str = "cpu", threads: int | None = None
) -> Admission:
    """How the package passed here. Blocks. `threads` of a run: all cores for None.

    Raises:
        RefusedError: it is no package, or is not admitted: with what differs, and by how much.
        ConfigError: the provider cannot be had.
        TransientError: the disk is full.
    """
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="nanofleet-") as folder:
        package = open_package(path, cache=Path(folder))
        card = package.card
        model = load_model(
            name=card.name,
            path=package.model_file,
            package=package,
            provider=provider,
            shape=shape,
            threads=threads or all_cores(),
        )
        need_provider(path, asked=provider, used=model.facts.provider_used)
        standards = Standards(goldens=package.goldens, allowed=card.allowed(), slowest_ms=card.slowest_ms)
        return admit(model, standards)
