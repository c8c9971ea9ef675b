"""A detector or pose model in an ONNX file, as the port `DetectorModel`."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.input_shape import InputShape
from agent.adapters.onnx.session import OnnxSession
from agent.adapters.onnx.size_input import SizeInput
from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.ports import Look, ModelFacts, Timed
from agent.vision.feeding import Feeder, Feeding, size_of
from agent.vision.heads import Head
from agent.vision.letterbox import Letterbox, Size

# Cameras of one aspect share a size; beyond so many a lane makes its tensor anew rather than keep 5 MB each.
_SIZES_PER_LANE = 4


class OnnxDetector:
    """Feeds, runs, decodes. Each calling thread has tensors of its own; the session is one for all."""

    def __init__(
        self,
        *,
        session: OnnxSession,
        facts: ModelFacts,
        head: Head,
        shape: InputShape,
        max_batch: int,
        fixed_batch: int | None,
        sizes: SizeInput | None = None,
        feeding: Feeding | None = None,
    ) -> None:
        self._session = session
        self._facts = facts
        self._head = head
        self._shape = shape
        self._max_batch = max_batch
        self._fixed_batch = fixed_batch
        self._sizes = sizes
        self._outputs = head.output_names
        # A package may know better than the head how this one model was trained.
        self._feeding = feeding or head.feeding
        self._lane = threading.local()

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def max_batch(self) -> int:
        return self._max_batch

    @property
    def resizable(self) -> bool:
        return self._shape.resizable

    @property
    def session(self) -> OnnxSession:
        return self._session

    @property
    def head(self) -> Head:
        return self._head

    @property
    def feeding(self) -> Feeding:
        return self._feeding

    @property
    def input_shape(self) -> InputShape:
        return self._shape

    def on(self, session: OnnxSession, *, precision: str | None = None) -> Self:
        """The same model, fed and decoded alike, in another session; `precision` where that is another."""
        other = copy(self)
        other._session = session  # noqa: SLF001 - its own class
        other._facts = replace(  # noqa: SLF001
            self._facts,
            provider_used=session.provider_used,
            precision=precision or self._facts.precision,
        )
        other._lane = threading.local()  # noqa: SLF001
        return other

    def detect(self, looks: Sequence[Look]) -> tuple[list[Detections], Timed]:
        """As the port says. Pictures whose input sizes differ run one size after the other."""
        started_ns = time.monotonic_ns()
        feeding_ns = running_ns = 0
        found: dict[int, Detections] = {}
        for size, indices in self._runs(looks):
            begun_ns = time.monotonic_ns()
            feed, placed = self._feed(size, [looks[index].pixels for index in indices])
            fed_ns = time.monotonic_ns()
            outputs = self._run(feed, placed)
            ran_ns = time.monotonic_ns()
            feeding_ns += fed_ns - begun_ns
            running_ns += ran_ns - fed_ns
            for row, (index, letterbox) in enumerate(zip(indices, placed, strict=True)):
                mine = [output[row] for output in outputs]
                found[index] = self._head.decode(mine, letterbox, looks[index].thresholds)
        preprocessed_ns = started_ns + feeding_ns
        return [found[index] for index in range(len(looks))], Timed(
            preprocessed_ns=preprocessed_ns, inferred_ns=preprocessed_ns + running_ns
        )

    def takes(self, size: Size) -> bool:
        """Whether the file lets an input have this size."""
        height, width = self._session.inputs[0].shape[2:]
        return height in {None, size.height_px} and width in {None, size.width_px}

    def examine(self, look: Look, *, size: Size) -> tuple[dict[str, NDArray[np.float32]], Detections]:
        """One picture at an input of `size`: the raw outputs that are decoded, by name, and what is found.

        Raises:
            TransientError: as `detect` does.
        """
        feed, placed = self._feed(size, [look.pixels])
        outputs = [output[0].copy() for output in self._run(feed, placed)]
        return dict(zip(self._outputs, outputs, strict=True)), self._head.decode(
            outputs, placed[0], look.thresholds
        )

    def _runs(self, looks: Sequence[Look]) -> list[tuple[Size, list[int]]]:
        """What goes into which run: indices of looks of one input size, at most a batch each."""
        by_size: dict[Size, list[int]] = {}
        for index, look in enumerate(looks):
            try:
                frame = size_of(look.pixels)
            except ValueError as error:
                raise TransientError(str(error), code=Code.FRAME) from error
            by_size.setdefault(self._shape.for_frame(frame, scale=look.scale), []).append(index)
        return [
            (size, indices[start : start + self._max_batch])
            for size, indices in by_size.items()
            for start in range(0, len(indices), self._max_batch)
        ]

    def _feed(
        self, size: Size, pictures: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.generic], list[Letterbox]]:
        feeder = self._feeder(size)
        placed = [feeder.put(slot, pixels) for slot, pixels in enumerate(pictures)]
        return feeder.filled(self._fixed_batch or len(pictures)), placed

    def _feeder(self, size: Size) -> Feeder:
        """This thread's input tensor for one size."""
        feeders: OrderedDict[Size, Feeder] | None = getattr(self._lane, "feeders", None)
        if feeders is None:
            feeders = self._lane.feeders = OrderedDict()
        feeder = feeders.get(size)
        if feeder is None:
            while len(feeders) >= _SIZES_PER_LANE:
                feeders.popitem(last=False)
            slots = self._fixed_batch or self._max_batch
            feeder = feeders[size] = Feeder(slots=slots, size=size, feeding=self._feeding)
        feeders.move_to_end(size)
        return feeder

    def _run(self, feed: NDArray[np.generic], placed: Sequence[Letterbox]) -> list[NDArray[np.float32]]:
        if self._sizes is None:
            outputs = self._session.run(feed, self._outputs)
        else:
            sizes = self._sizes.feed([one.shown for one in placed], rows=len(feed))
            outputs = self._session.run(feed, self._outputs, beside=sizes)
        if any(not output.ndim or len(output) != len(feed) for output in outputs):
            shapes = ", ".join(str(list(output.shape)) for output in outputs)
            raise TransientError(
                f"{self._session.path.name} gave {shapes} for an input of {list(feed.shape)}",
                code=Code.MODEL,
            )
        return [output.astype(np.float32, copy=False) for output in outputs]
