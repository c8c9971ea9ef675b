"""Classifiers: the score is the probability that the window is not normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.windows import Answer, listed
from agent.adapters.onnx.windows.metadata import WindowMetadata

_SUM_WITHIN: Final = 0.01
"""Half precision leaves a thousandth a class."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """An output with a number a class; those of the anomalous classes add up to the score, 0 to 1."""

    output_name: str
    fed_samples: int
    columns: tuple[int, ...]
    logits: bool
    name: str = "classifier"

    @classmethod
    def fit(cls, metadata: WindowMetadata, feed: NDArray[Any], answers: Sequence[Answer]) -> Self:  # noqa: ARG003
        """Raises: ValueError (no output has a number a class, or they are no probabilities)."""
        wanted = (1, len(metadata.classes))
        fitting = [one for one in answers if one.values.shape == wanted and one.values.dtype.kind == "f"]
        if not fitting:
            raise ValueError(
                f"a classifier of {len(metadata.classes)} classes ({', '.join(metadata.classes)}) gives "
                f"{list(wanted)} for a window; it has {listed(answers)}. An export of scikit-learn needs "
                "zipmap=False"
            )
        chosen = fitting[0]
        logits = metadata.activation == "softmax"
        values = chosen.values.astype(np.float64)
        if not logits and (values.min() < -_SUM_WITHIN or abs(values.sum() - 1) > _SUM_WITHIN):
            raise ValueError(
                f"output {chosen.name} gives {np.array2string(values[0], precision=3)}, which are no "
                "probabilities (they must add up to 1); if they are logits, metadata activation: softmax "
                "would be right"
            )
        columns = tuple(index for index, one in enumerate(metadata.classes) if one in metadata.anomalous)
        return cls(chosen.name, metadata.window, columns, logits)

    def score(self, window: NDArray[Any], feed: NDArray[Any], output: NDArray[Any]) -> float:  # noqa: ARG002
        values = output[0].astype(np.float64)
        if self.logits:
            powers = np.exp(values - values.max())
            values = powers / powers.sum()
        return float(values[list(self.columns)].sum())
