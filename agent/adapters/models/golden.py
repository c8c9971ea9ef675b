"""Golden inputs and outputs: one `.npz` each, of plain arrays, bounded before anything is allocated.

A picture: `picture` uint8 `[height, width, 3]` BGR, `input_size` (height, width), `thresholds` (confidence,
IoU), `boxes` `[N, 4]` and `keypoints` `[N, K, 3]` in its pixels, `confidence`, `class_id`, and the raw
outputs that are decoded, `output.NAME`, without the batch axis.
A window: `window` float32 `[window, channels]` in sensor units, `score`.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.errors import Code, RefusedError
from agent.domain.thresholds import Thresholds
from agent.vision.letterbox import Size

MOST_BYTES: Final = 2**27
"""Of all arrays of one file, unpacked."""

_MOST_ARRAYS: Final = 32
_KINDS: Final = "biuf"
_OUTPUT: Final = "output."

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class GoldenPicture:
    """A picture, and what the model finds in it at an input of `size`."""

    name: str
    pixels: NDArray[np.uint8]
    size: Size
    thresholds: Thresholds
    found: Detections
    outputs: Outputs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoldenWindow:
    """A window of a sensor's samples, and its score."""

    name: str
    values: NDArray[np.float32]
    score: float


Golden = GoldenPicture | GoldenWindow


def read_golden(path: Path) -> Golden:
    """Raises: RefusedError (it is damaged, too large, or arrays are missing or of another form)."""
    try:
        arrays = _read(path)
        outputs = {key.removeprefix(_OUTPUT): each for key, each in arrays.items() if key.startswith(_OUTPUT)}
        return _window(path, arrays) if "window" in arrays else _picture(path, arrays, outputs)
    except KeyError as error:
        raise RefusedError(f"golden/{path.name} lacks the array {error}", code=Code.FILE) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise RefusedError(f"golden/{path.name} cannot be used: {error}", code=Code.FILE) from error


def write_golden(path: Path, golden: Golden) -> None:
    """Raises: OSError."""
    arrays: dict[str, Any] = {}
    match golden:
        case GoldenPicture():
            found = golden.found
            arrays = {f"{_OUTPUT}{name}": each for name, each in golden.outputs.items()}
            arrays |= {
                "picture": golden.pixels,
                "input_size": np.array([golden.size.height_px, golden.size.width_px], np.int64),
                "thresholds": np.array([golden.thresholds.confidence, golden.thresholds.iou], np.float64),
                "boxes": found.boxes,
                "confidence": found.confidence,
                "class_id": found.class_id,
            }
            if found.keypoints is not None:
                arrays["keypoints"] = found.keypoints
        case GoldenWindow():
            arrays = {"window": golden.values, "score": np.float64(golden.score)}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _picture(path: Path, arrays: Mapping[str, NDArray[Any]], outputs: Outputs) -> GoldenPicture:
    pixels, (height, width) = arrays["picture"], arrays["input_size"].tolist()
    confidence, iou = arrays["thresholds"].tolist()
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"its picture is {pixels.dtype} {list(pixels.shape)}; uint8 [height, width, 3] is wanted"
        )
    keypoints = arrays.get("keypoints")
    return GoldenPicture(
        name=path.stem,
        pixels=pixels,
        size=Size(int(height), int(width)),
        thresholds=Thresholds(confidence=float(confidence), iou=float(iou)),
        found=Detections(
            boxes=arrays["boxes"].astype(np.float64),
            confidence=arrays["confidence"].astype(np.float32),
            class_id=arrays["class_id"].astype(np.int32),
            keypoints=None if keypoints is None else keypoints.astype(np.float64),
        ),
        outputs=outputs,
    )


def _window(path: Path, arrays: Mapping[str, NDArray[Any]]) -> GoldenWindow:
    values = arrays["window"]
    if values.ndim != 2:
        raise ValueError(f"its window is {list(values.shape)}; [window, channels] is wanted")
    return GoldenWindow(name=path.stem, values=values.astype(np.float32), score=float(arrays["score"]))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS or sum(each.file_size for each in members) > MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_ARRAYS} arrays or {MOST_BYTES} bytes")
        for each in members:
            arrays[each.filename.removesuffix(".npy")] = _array(archive.read(each))
    return arrays


def _array(data: bytes) -> NDArray[Any]:
    """One array; what its header says is believed only where the bytes are there.

    Source: NEP 1, the .npy format.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"an array is of .npy version {version}; 1.0 or 2.0 is wanted")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    body = memoryview(data)[stream.tell() :]
    if dtype.kind not in _KINDS or math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"an array says {dtype} {list(shape)} and has {len(body)} bytes")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
