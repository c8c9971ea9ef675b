"""Autoencoders: the score is the error of the reconstruction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.windows import Answer, listed
from agent.adapters.onnx.windows.metadata import WindowMetadata


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """An output in the shape of the input; its mean squared error, in normalised units, is the score."""

    output_name: str
    fed_samples: int
    name: str = "autoencoder"

    @classmethod
    def fit(cls, metadata: WindowMetadata, feed: NDArray[Any], answers: Sequence[Answer]) -> Self:
        """Raises: ValueError (no output has the input's shape)."""
        for answer in answers:
            if answer.values.shape == feed.shape:
                return cls(answer.name, metadata.window)
        raise ValueError(
            f"an autoencoder gives back what it was fed, {list(feed.shape)}; it has {listed(answers)}"
        )

    def score(self, window: NDArray[Any], feed: NDArray[Any], output: NDArray[Any]) -> float:  # noqa: ARG002
        return mean_squared(feed, output)


def mean_squared(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of the differences of two arrays of one size, taken in double precision."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = one.astype(np.float64) - other.astype(np.float64)
        return float(np.mean(difference * difference))
