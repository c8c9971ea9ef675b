"""TensorRT's engines on disk: one folder for each model, shapes, precision, GPU and versions."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.onnx.accelerator import Accelerator, EngineOptions
from agent.adapters.onnx.gpu import Gpu
from agent.adapters.onnx.session import TensorSpec
from agent.domain.errors import Code, TransientError
from agent.vision.letterbox import Size

_READY: Final = "ready.json"
_KEPT: Final = 8
"""Engines of a model are tens of MB; those of another GPU or an older TensorRT never serve again."""


@dataclass(frozen=True, slots=True)
class Range:
    """The shapes that an engine takes: from `least` to `greatest`, fastest at `usual`; inputs by name."""

    least: Mapping[str, tuple[int, ...]]
    usual: Mapping[str, tuple[int, ...]]
    greatest: Mapping[str, tuple[int, ...]]

    @property
    def fixed(self) -> bool:
        return self.least == self.greatest


def shapes_for(
    inputs: Sequence[TensorSpec], *, least: Size, usual: Size, greatest: Size, max_batch: int
) -> Range:
    """What open sides of the inputs may become: the batch up to `max_batch`, a picture's sides as said."""

    def fill(spec: TensorSpec, batch: int, size: Size) -> tuple[int, ...]:
        whole = [batch, 3, size.height_px, size.width_px] if len(spec.shape) == 4 else [batch]
        whole += [1] * (len(spec.shape) - len(whole))
        return tuple(side if side is not None else whole[place] for place, side in enumerate(spec.shape))

    return Range(
        least={spec.name: fill(spec, 1, least) for spec in inputs},
        usual={spec.name: fill(spec, 1, usual) for spec in inputs},
        greatest={spec.name: fill(spec, max_batch, greatest) for spec in inputs},
    )


class EngineCache:
    """The folder of one engine below `root`; what does not fit any more lies in other folders."""

    def __init__(
        self,
        root: Path,
        *,
        model_sha256: str,
        shapes: Range,
        accelerator: Accelerator,
        gpu: Gpu,
        tensorrt: str,
        onnxruntime: str,
    ) -> None:
        self._root = root
        self._open = not shapes.fixed
        self._shapes = shapes
        self._key = {
            "model": model_sha256,
            "precision": accelerator.precision,
            "gpu_mem_limit_mb": accelerator.gpu_mem_limit_mb,
            "gpu": gpu.name,
            "compute_capability": gpu.capability,
            "tensorrt": tensorrt,
            "onnxruntime": onnxruntime,
            "shapes": [_written(each) for each in (shapes.least, shapes.usual, shapes.greatest)],
        }
        digest = hashlib.sha256(json.dumps(self._key, sort_keys=True).encode()).hexdigest()
        self.folder = root / f"{model_sha256[:12]}-{digest[:16]}"
        timed = hashlib.sha256(f"{gpu.name} {gpu.capability} {tensorrt}".encode()).hexdigest()
        self._timings = root / f"timings-{timed[:16]}"

    @property
    def is_ready(self) -> bool:
        """Whether the engine was built to its end."""
        return (self.folder / _READY).is_file()

    def options(self) -> EngineOptions:
        """What TensorRT is told of it; its own names for files in the folder are added by the provider."""
        if not self._open:
            return EngineOptions(self.folder, self._timings)
        shapes = self._shapes
        return EngineOptions(
            self.folder,
            self._timings,
            least=_written(shapes.least),
            usual=_written(shapes.usual),
            greatest=_written(shapes.greatest),
        )

    def prepare(self) -> None:
        """An empty folder to build into: what an interrupted build left there may be half a file.

        Raises:
            TransientError: the disk does not let us.
        """
        try:
            self.discard()
            self._make_room()
            self.folder.mkdir(parents=True)
            self._timings.mkdir(exist_ok=True)
        except OSError as error:
            raise TransientError(
                f"no engine can be kept in {self.folder}: {error.strerror}", code=Code.FILE
            ) from error

    def mark_ready(self) -> None:
        """The engine is whole. Raises: TransientError (the disk does not let us)."""
        try:
            (self.folder / _READY).write_text(json.dumps(self._key, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise TransientError(
                f"the engine in {self.folder} cannot be marked as whole: {error.strerror}", code=Code.FILE
            ) from error

    def discard(self) -> None:
        """Away with it; the next start builds anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_room(self) -> None:
        if not self._root.is_dir():
            return
        engines = [
            one for one in self._root.iterdir() if one.is_dir() and not one.name.startswith("timings-")
        ]
        engines.sort(key=lambda one: one.stat().st_mtime)
        for oldest in engines[: max(0, len(engines) - _KEPT + 1)]:
            shutil.rmtree(oldest, ignore_errors=True)


def _written(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """As the provider's options want it: ``images:1x3x640x640,sizes:1x2``."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
