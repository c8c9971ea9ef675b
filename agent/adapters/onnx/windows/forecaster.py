"""Forecasters: the model sees the window's beginning, and the score is how far it misses the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from agent.adapters.onnx.windows import Answer, listed
from agent.adapters.onnx.windows.autoencoder import mean_squared
from agent.adapters.onnx.windows.metadata import WindowMetadata


@dataclass(frozen=True, slots=True)
class Forecaster:
    """An output of the window's last `horizon` samples; the mean squared residual is the score."""

    output_name: str
    fed_samples: int
    channels_first: bool
    name: str = "forecaster"

    @classmethod
    def fit(cls, metadata: WindowMetadata, feed: NDArray[Any], answers: Sequence[Answer]) -> Self:
        """Raises: ValueError (no output holds `horizon` samples of every channel)."""
        channels_first = metadata.layout == "NCW"
        horizon, channels = metadata.horizon or 1, len(metadata.channels)
        sides = (channels, horizon) if channels_first else (horizon, channels)
        fitting = {(1, *sides), (1, horizon * channels)}
        if horizon == 1 or channels == 1:
            fitting.add((1, max(horizon, channels)))
        for answer in answers:
            if answer.values.shape in fitting and answer.values.dtype.kind == "f":
                return cls(answer.name, metadata.window - horizon, channels_first)
        raise ValueError(
            f"a forecaster fed {list(feed.shape)} gives the next {horizon} samples of {channels} channels, "
            f"{[1, *sides]}; it has {listed(answers)}"
        )

    def score(self, window: NDArray[Any], feed: NDArray[Any], output: NDArray[Any]) -> float:  # noqa: ARG002
        came = window[self.fed_samples :]
        foretold = output.reshape(came.shape[::-1]).T if self.channels_first else output.reshape(came.shape)
        return mean_squared(came, foretold)
