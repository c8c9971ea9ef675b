"""An anomaly model of sensor windows in an ONNX file, as the port `AnomalyModel`."""

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.metadata import AnomalyMetadata
from agent.adapters.onnx.session import OnnxSession
from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import ModelFacts, Timed


class OnnxAnomaly:
    """Scores windows: by the error of the model's reconstruction, or by the score that it gives itself.

    Input `[N, window, channels]`, normalised by the file's mean and std. An output of that same shape is a
    reconstruction, whose mean squared error is the score; `[N]` or `[N, 1]` is the score.

    Raises:
        RefusedError: input or output are of another form.
    """

    def __init__(self, *, session: OnnxSession, facts: ModelFacts, metadata: AnomalyMetadata) -> None:
        self._session = session
        self._facts = facts
        self._metadata = metadata
        self._mean = np.array(metadata.mean, np.float32)
        self._std = np.array(metadata.std, np.float32)
        self._element = _check_input(session, metadata)
        self._output = session.outputs[0].name
        self._reconstructs = self._try()

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def window(self) -> int:
        return self._metadata.window

    @property
    def hop(self) -> int:
        return self._metadata.hop

    @property
    def channels(self) -> tuple[str, ...]:
        return self._metadata.channels

    @property
    def rate_hz(self) -> float:
        """Samples a second that the model was trained at."""
        return self._metadata.rate_hz

    @property
    def threshold(self) -> float:
        return self._metadata.threshold

    def typical_window(self) -> NDArray[np.float32]:
        """A window in which every sample is the mean."""
        return np.repeat(self._mean[None], self._metadata.window, axis=0)

    def score(self, values: NDArray[np.float32]) -> tuple[float, Timed]:
        """As the port says; a window with a sample missing or not finite is an error, not a score."""
        wanted = (self._metadata.window, len(self._metadata.channels))
        if values.shape != wanted:
            raise TransientError(
                f"{self._facts.name} wants a window of {list(wanted)}, not {list(values.shape)}",
                code=Code.READING,
            )
        finite = np.isfinite(values)
        if not finite.all():
            names = [
                name for column, name in enumerate(self._metadata.channels) if not finite[:, column].all()
            ]
            raise TransientError(
                f"the window for {self._facts.name} lacks samples of {', '.join(names)}", code=Code.READING
            )
        # What overflows half precision makes the score infinite, which is told below.
        with np.errstate(over="ignore"):
            feed = ((values - self._mean) / self._std)[None].astype(self._element)
        fed_ns = time.monotonic_ns()
        output = self._run(feed)
        ran_ns = time.monotonic_ns()
        value = _mean_squared(feed, output) if self._reconstructs else float(output.reshape(-1)[0])
        if not math.isfinite(value):
            raise TransientError(f"{self._facts.name} gave {value} as a score", code=Code.MODEL)
        return value, Timed(preprocessed_ns=fed_ns, inferred_ns=ran_ns)

    def _run(self, feed: NDArray[Any]) -> NDArray[Any]:
        (output,) = self._session.run(feed, [self._output])
        return output

    def _try(self) -> bool:
        """Run once on a window of means: whether the output is a reconstruction."""
        feed = np.zeros((1, self._metadata.window, len(self._metadata.channels)), self._element)
        try:
            output = self._run(feed)
        except TransientError as error:
            raise self._session.refusal(f"it does not run: {error.message}") from error
        if output.shape == feed.shape:
            return True
        if output.shape in {(1,), (1, 1)}:
            return False
        raise self._session.refusal(
            f"for one window of {list(feed.shape)} it gives {list(output.shape)}; "
            "a reconstruction of the same shape, [N] or [N, 1] is wanted"
        )


def _check_input(session: OnnxSession, metadata: AnomalyMetadata) -> np.dtype[Any]:
    wanted = (metadata.window, len(metadata.channels))
    problem: RefusedError | None = None
    if len(session.inputs) != 1 or len(session.inputs[0].shape) != 3:
        problem = session.refusal("an anomaly model takes one input [N, window, channels]")
    elif session.inputs[0].dtype not in {"float32", "float16"}:
        problem = session.refusal("an anomaly model takes float32 or float16")
    elif session.inputs[0].shape[0] not in {None, 1}:
        problem = session.refusal("its batch is fixed; windows come one at a time, so it must be 1 or open")
    elif any(
        side not in {None, want} for side, want in zip(session.inputs[0].shape[1:], wanted, strict=True)
    ):
        problem = session.refusal(
            f"its metadata says {wanted[0]} samples of {wanted[1]} channels, its input differs"
        )
    if problem is not None:
        raise problem
    return np.dtype(session.inputs[0].dtype)


def _mean_squared(feed: NDArray[Any], output: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore"):
        difference = feed.astype(np.float64) - output.astype(np.float64)
        return float(np.mean(difference * difference))
