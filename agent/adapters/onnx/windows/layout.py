"""How a window lies in a model's input: sample by sample, channel by channel, in one row, or as features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.session import TensorSpec
from agent.adapters.onnx.windows.features import features_of
from agent.adapters.onnx.windows.metadata import WindowMetadata

_TYPES: Final = ("float32", "float16", "float64")
_FORMS: Final = {
    "NWC": "[N, samples, channels]",
    "NCW": "[N, channels, samples]",
    "row": "[N, samples * channels]",
    "features": "[N, channels * features]",
}

Form = Literal["NWC", "NCW", "row", "features"]


@dataclass(frozen=True, slots=True)
class InputLayout:
    """`row`: one sample's channels, then the next one's. `features`: one channel's, then the next one's."""

    form: Form
    samples: int
    features: tuple[str, ...]
    element: np.dtype[Any]

    @classmethod
    def fit(cls, metadata: WindowMetadata, inputs: Sequence[TensorSpec]) -> Self:
        """By the metadata and the file's own input.

        Raises:
            ValueError: the model has another input than its metadata describes.
        """
        samples, channels = metadata.window - (metadata.horizon or 0), len(metadata.channels)
        if len(inputs) != 1 or len(inputs[0].shape) not in {2, 3}:
            raise ValueError("an anomaly model takes one input [N, window, channels] or [N, numbers]")
        (spec,) = inputs
        form = _form(metadata, rank=len(spec.shape))
        if spec.dtype not in _TYPES:
            raise ValueError(f"an anomaly model takes {' or '.join(_TYPES)}, not {spec.dtype}")
        batch, *sides = spec.shape
        if batch not in {None, 1}:
            raise ValueError("its batch is fixed; windows come one at a time, so it must be 1 or open")
        wanted = {
            "NWC": (samples, channels),
            "NCW": (channels, samples),
            "row": (samples * channels,),
            "features": (channels * len(metadata.features),),
        }
        if not _fits(sides, wanted[form]):
            raise ValueError(_mismatch(metadata, samples, form, sides, wanted))
        return cls(form, samples, metadata.features, np.dtype(spec.dtype))

    def tensor(self, normalised: NDArray[np.float32]) -> NDArray[Any]:
        """The model's input with a batch of 1, of a normalised window `[window, channels]`."""
        seen = normalised[: self.samples]
        laid: NDArray[Any]
        match self.form:
            case "NWC":
                laid = seen
            case "NCW":
                laid = seen.T
            case "row":
                laid = seen.reshape(-1)
            case "features":
                laid = features_of(seen, self.features)
        # What overflows half precision makes the score infinite, which the caller tells.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(laid[None], dtype=self.element)


def _form(metadata: WindowMetadata, *, rank: int) -> Form:
    if rank == 2:
        if metadata.layout is not None:
            raise ValueError(
                f"metadata layout is {metadata.layout}, which is for an input of three sides; its has two, "
                "for which layout is left out: it takes all numbers of a window in one row, or features"
            )
        return "features" if metadata.features else "row"
    if metadata.features:
        raise ValueError(f"metadata features makes one row, {_FORMS['features']}; its input has three sides")
    return "NCW" if metadata.layout == "NCW" else "NWC"


def _fits(sides: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return all(side in {None, want} for side, want in zip(sides, wanted, strict=True))


def _mismatch(
    metadata: WindowMetadata,
    samples: int,
    form: Form,
    sides: Sequence[int | None],
    wanted: dict[str, tuple[int, ...]],
) -> str:
    said = f"{samples} samples of {len(metadata.channels)} channels"
    if metadata.horizon:
        said = f"{metadata.window} - {metadata.horizon} = {said}"
    if metadata.features:
        said = f"{len(metadata.features)} features of {len(metadata.channels)} channels"
    shape = ", ".join("?" if side is None else str(side) for side in sides)
    other = "NCW" if form == "NWC" else "NWC"
    hint = ""
    if len(sides) == 2 and _fits(sides, wanted[other]):
        hint = f"; layout: {other} would be right"
    elif form == "row":
        hint = "; if it takes features, metadata must name them in `features`"
    numbers = ", ".join(map(str, wanted[form]))
    return f"its metadata says {said}, {_FORMS[form]} = [N, {numbers}], but its input is [N, {shape}]{hint}"
