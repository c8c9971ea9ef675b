"""A model made into a package: what is golden comes from it, or from its fp32 form, on this machine's CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from agent.adapters.models import ModelPackage, open_package, package_digest
from agent.adapters.models.golden import Golden, GoldenPicture, GoldenWindow
from agent.adapters.models.writing import compose_card, write_package
from agent.adapters.onnx import load_model
from agent.adapters.onnx.admission import Standards, admit
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.adapters.onnx.skeleton import read_skeleton
from agent.domain.errors import Code, RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.vision.feeding import size_of
from agent.workbench.opening import all_cores
from agent.workbench.pictures import collect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.adapters.onnx.admission import Admission
    from agent.adapters.onnx.input_shape import Shape

MOST_PICTURES: Final = 16

_LONGEST_PX: Final = 1280
"""A golden picture need not be larger than what a model sees of it."""

_LIMIT: Final = 0.25
_WEAKEST: Final = 0.01
_WINDOWS: Final = 4
_SEED: Final = 0

_AS_PACKED: Final = {"fp64": "fp32", "bf16": "fp16"}
"""The nearest precision that a package knows."""

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written. `objects` are golden ones, over all pictures."""

    file: Path
    sha256: str
    goldens: int
    objects: int
    passed: Admission


def pack(
    model: Path,
    *,
    out: Path,
    said: Mapping[str, Any],
    images: Sequence[Path] = (),
    reference: Path | None = None,
    shape: Shape = "file",
    on_step: Step = lambda _step: None,
) -> Packed:
    """Write a package and admit it as a node would. Seconds; `on_step` hears what is done.

    `said` is for `model.yaml`, over what the file itself says of version and licence. `reference` is the
    model at fp32 where `model` is less exact.

    Raises:
        RefusedError: a file cannot be used, `said` is wrong, or the package is not admitted here; then
            nothing was written.
        ConfigError: onnxruntime is missing.
    """
    _need_place(out)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="nanofleet-") as folder:
        on_step("reading")
        card = compose_card(_with_what_the_file_says(model, said))
        _check_precision(model, card.precision)
        trial = Path(folder, "trial")
        write_package(trial, card=card, model=reference or model, goldens=())
        golden_model = _load(open_package(trial, cache=Path(folder, "cache")), shape)
        goldens = []
        for golden in _goldens(golden_model, images):
            on_step(f"running {golden.name}")
            goldens.append(golden)
        del golden_model
        objects = sum(len(each.found) for each in goldens if isinstance(each, GoldenPicture))
        if card.precision != "fp32" and not objects and isinstance(goldens[0], GoldenPicture):
            raise RefusedError(
                f"nothing is found in any of the {len(goldens)} pictures, so a model at {card.precision} "
                "could be held to nothing; give --images with objects that it knows",
                code=Code.MODEL,
            )
        on_step("admitting")
        finished = Path(folder, f"package{out.suffix}")
        write_package(finished, card=card, model=model, goldens=goldens)
        passed = _admit(open_package(finished, cache=Path(folder, "cache")), shape)
        on_step("writing")
        write_package(out, card=card, model=model, goldens=goldens)
    return Packed(out, package_digest(out), len(goldens), objects, passed)


def _need_place(out: Path) -> None:
    """Before the model is run, and in the user's words rather than in those of a file beside it."""
    if out.suffix.lower() == ".zip":
        why = "it is a folder" if out.is_dir() else None
    else:
        taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
        why = "something is there already; a new folder is wanted, or a .zip" if taken else None
    if why is None and not out.parent.is_dir():
        why = f"there is no folder {out.parent}"
    if why is not None:
        raise RefusedError(f"--out: {out} cannot be written: {why}", code=Code.FILE)


def _with_what_the_file_says(model: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    metadata = open_session(model, sha256=None, settings=SessionSettings()).metadata
    own = {"version": metadata.get("version"), "licence": metadata.get("license")}
    return {key: value for key, value in own.items() if value} | dict(said)


def _check_precision(model: Path, said: str) -> None:
    """Tolerances are as wide as a model is said to be coarse: a wrong word would let a broken one pass.

    Raises:
        RefusedError: the file's weights are stored otherwise.
    """
    skeleton = read_skeleton(model)
    if skeleton is None or not skeleton.has_weights:
        return
    stored = _AS_PACKED.get(skeleton.precision, skeleton.precision)
    if stored != said:
        raise RefusedError(
            f"{model.name} is to be packed as {said}, but its weights are {skeleton.precision}: "
            f"--precision {stored} is right",
            code=Code.MODEL,
        )


def _load(package: ModelPackage, shape: Shape) -> OnnxDetector | OnnxAnomaly:
    return load_model(
        name=package.card.name, path=package.model_file, package=package, shape=shape, threads=all_cores()
    )


def _admit(package: ModelPackage, shape: Shape) -> Admission:
    return admit(_load(package, shape), Standards(goldens=package.goldens, allowed=package.card.allowed()))


def _goldens(model: OnnxDetector | OnnxAnomaly, images: Sequence[Path]) -> Iterator[Golden]:
    if isinstance(model, OnnxAnomaly):
        if images:
            raise RefusedError("a model of sensor windows takes no --images", code=Code.MODEL)
        yield from _windows(model)
        return
    pictures = collect(images)
    if len(pictures) > MOST_PICTURES:
        raise RefusedError(
            f"{len(pictures)} pictures are given; {MOST_PICTURES} are enough for a package", code=Code.SIZE
        )
    for number, picture in enumerate(pictures):
        yield _picture(model, _within(picture.pixels), number=number)


def _picture(model: OnnxDetector, pixels: NDArray[np.uint8], *, number: int) -> GoldenPicture:
    """Raw outputs go with the first picture only: they are large, and all pictures meet the same graph."""
    size = model.input_shape.for_frame(size_of(pixels))
    weak = Thresholds(confidence=_WEAKEST)
    outputs, found = model.examine(Look(pixels, weak), size=size)
    thresholds = Thresholds(confidence=_limit(found.confidence))
    _, found = model.examine(Look(pixels, thresholds), size=size)
    return GoldenPicture(
        name=f"picture-{number}",
        pixels=pixels,
        size=size,
        thresholds=thresholds,
        found=found,
        outputs=outputs if number == 0 else {},
    )


def _limit(confidences: NDArray[np.float32]) -> float:
    """Of a model that is sure of nothing here, what it is half as sure of as of its best."""
    best = float(confidences.max(initial=0.0))
    return _LIMIT if best >= _LIMIT or best == 0.0 else best / 2


def _windows(model: OnnxAnomaly) -> Iterator[GoldenWindow]:
    """Noise of the spread that the model was trained at, ever stronger: from ordinary to an anomaly."""
    rng = np.random.default_rng(_SEED)
    for number in range(_WINDOWS):
        noise = rng.standard_normal((model.window, len(model.channels)))
        values = (model.typical_window() + noise * model.spread * number).astype(np.float32)
        yield GoldenWindow(name=f"window-{number}", values=values, score=model.score(values)[0])


def _within(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height_px, width_px = pixels.shape[:2]
    gain = _LONGEST_PX / max(height_px, width_px)
    if gain >= 1:
        return pixels
    smaller = (max(round(width_px * gain), 1), max(round(height_px * gain), 1))
    return cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
