"""Models that give a score of their own, such as isolation forests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from agent.adapters.onnx.windows import Answer, listed
from agent.adapters.onnx.windows.metadata import WindowMetadata


@dataclass(frozen=True, slots=True)
class OwnScore:
    """An output `[N]` or `[N, 1]`, taken as it is, or with its sign turned where higher means normal."""

    output_name: str
    fed_samples: int
    sign: float
    name: str = "score"

    @classmethod
    def fit(cls, metadata: WindowMetadata, feed: NDArray[Any], answers: Sequence[Answer]) -> Self:  # noqa: ARG003
        """Raises: ValueError (no output is one number)."""
        for answer in answers:
            if answer.values.shape in {(1,), (1, 1)} and answer.values.dtype.kind == "f":
                sign = -1.0 if metadata.higher_means == "normal" else 1.0
                return cls(answer.name, metadata.window, sign)
        raise ValueError(f"a score is one number for a window, [N] or [N, 1]; it has {listed(answers)}")

    def score(self, window: NDArray[Any], feed: NDArray[Any], output: NDArray[Any]) -> float:  # noqa: ARG002
        return self.sign * float(output.reshape(-1)[0])
