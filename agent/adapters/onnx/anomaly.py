"""An anomaly model of sensor windows in an ONNX file, as the port `AnomalyModel`."""

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.session import OnnxSession
from agent.adapters.onnx.windows import WindowKind
from agent.adapters.onnx.windows.choose import choose_kind
from agent.adapters.onnx.windows.layout import InputLayout
from agent.adapters.onnx.windows.metadata import WindowMetadata
from agent.domain.errors import Code, TransientError
from agent.ports import ModelFacts, Timed


class OnnxAnomaly:
    """Scores windows: normalised as the file says, laid out as its input wants, read as its kind does.

    Raises:
        RefusedError: input or output are of another form than the metadata says, or it does not run.
    """

    def __init__(self, *, session: OnnxSession, facts: ModelFacts, metadata: WindowMetadata) -> None:
        self._session = session
        self._facts = facts
        self._metadata = metadata
        try:
            self._layout = InputLayout.fit(metadata, session.inputs)
            self._kind = self._try()
        except ValueError as error:
            raise session.refusal(str(error)) from error
        self._outputs = [self._kind.output_name]

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def kind(self) -> WindowKind:
        """What turns the model's answer into a score."""
        return self._kind

    @property
    def fed_shape(self) -> tuple[int, ...]:
        """Of the input tensor for one window: [1, window, channels], or what else the file wants."""
        return self._fed_shape

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

    @property
    def normalisation(self) -> str:
        """What is done to the samples first: mean_std, minmax or none."""
        return self._metadata.normalisation.method

    def typical_window(self) -> NDArray[np.float32]:
        """A window in which every sample is the mean, or the middle of the range."""
        return np.repeat(self._metadata.normalisation.centre[None], self._metadata.window, axis=0)

    @property
    def spread(self) -> NDArray[np.float32]:
        """Of each channel, what normalisation divides by: the standard deviation or the range."""
        return self._metadata.normalisation.scale

    def score(self, values: NDArray[np.float32]) -> tuple[float, Timed]:
        """As the port says; a window with a sample missing or not finite is an error, not a score."""
        self._check(values)
        normalised = self._metadata.normalisation.apply(values)
        feed = self._layout.tensor(normalised)
        fed_ns = time.monotonic_ns()
        (output,) = self._session.run(feed, self._outputs)
        ran_ns = time.monotonic_ns()
        value = self._kind.score(normalised, feed, output)
        if not math.isfinite(value):
            raise TransientError(f"{self._facts.name} gave {value} as a score", code=Code.MODEL)
        return value, Timed(preprocessed_ns=fed_ns, inferred_ns=ran_ns)

    def _check(self, values: NDArray[np.float32]) -> None:
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

    def _try(self) -> WindowKind:
        """Run once on a typical window: what comes out says how it is read.

        Raises:
            ValueError: nothing fits what comes out.
        """
        feed: NDArray[Any] = self._layout.tensor(self._metadata.normalisation.apply(self.typical_window()))
        self._fed_shape = feed.shape
        try:
            outputs = self._session.run(feed)
        except TransientError as error:
            raise ValueError(f"it does not run: {error.message}") from error
        return choose_kind(self._metadata, feed, [spec.name for spec in self._session.outputs], outputs)
