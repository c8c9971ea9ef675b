"""From sensor units to what a model was trained on: subtract, divide, channel by channel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.literals import choice, numbers

METHODS = ("mean_std", "minmax", "none")
_KEYS = {"mean_std": ("mean", "std"), "minmax": ("min", "max"), "none": ()}


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """(value - `offset`) / `scale`, float32 `[channels]` each, in sensor units; `scale` is above 0."""

    method: str
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def none(cls, channels: int) -> Self:
        """Values as the sensor gave them."""
        return cls("none", np.zeros(channels, np.float32), np.ones(channels, np.float32))

    @property
    def centre(self) -> NDArray[np.float32]:
        """What is ordinary of each channel, in sensor units: the mean, or the middle of the range."""
        return self.offset + self.scale / np.float32(2) if self.method == "minmax" else self.offset

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values `[samples, channels]`; what float32 cannot hold becomes infinite."""
        with np.errstate(over="ignore"):
            return np.asarray((values - self.offset) / self.scale)


def read_normalisation(said: Mapping[str, str], channels: int) -> Normalisation:
    """`normalisation` and its two lists; mean_std where the file does not say.

    Raises:
        ValueError: a list has another length, a scale is not above 0, or a list belongs to another method.
        KeyError: a list is missing.
    """
    method = choice(said, "normalisation", METHODS) or "mean_std"
    for other, keys in _KEYS.items():
        if other != method and (stray := [key for key in keys if key in said]):
            raise ValueError(
                f"metadata normalisation is {method}, but {' and '.join(stray)} belong to {other}: "
                "one of the two is wrong"
            )
    if method == "none":
        return Normalisation.none(channels)
    first, second = _KEYS[method]
    low = np.array(numbers(said, first, channels), np.float32)
    high = np.array(numbers(said, second, channels), np.float32)
    scale = high if method == "mean_std" else high - low
    if not (np.isfinite(scale).all() and scale.min() > 0):
        wanted = "above 0" if method == "mean_std" else "above min"
        raise ValueError(f"metadata {second} is {said[second]!r}; every value must be {wanted}")
    return Normalisation(method, low, scale)
