"""Models of sensor windows: what their file says, how they are fed, and one module a kind of score.

The convention for people is docs/reference/anomaly-models.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answer:
    """One output of the model for one window."""

    name: str
    values: NDArray[Any]


class WindowKind(Protocol):
    """How one kind of model turns a window into a score. Holds no state; lane threads call it at once."""

    @property
    def name(self) -> str:
        """As the metadata's `kind` has it."""

    @property
    def fed_samples(self) -> int:
        """How many of the window's samples, from the oldest on, the model sees."""

    @property
    def output_name(self) -> str:
        """The one output that is read."""

    def score(self, window: NDArray[Any], feed: NDArray[Any], output: NDArray[Any]) -> float:
        """The anomaly score, greater for what is stranger.

        `window` is `[window, channels]`, normalised, float32; `feed` is what the model was given of it,
        `output` its answer, both with a batch of 1. May be infinite or NaN: the caller looks.
        """


def listed(answers: Sequence[Answer]) -> str:
    """Outputs and their shapes, for a refusal."""
    return ", ".join(f"{one.name} {list(one.values.shape)}" for one in answers) or "none that are arrays"
