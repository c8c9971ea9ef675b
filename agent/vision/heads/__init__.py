"""What turns a model's output into detections: one module a family of output layouts.

A family offers `fit(evidence)`: its head, made for this model, or None where the layout is another's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections
from agent.domain.thresholds import Thresholds
from agent.vision.feeding import Element, Feeding
from agent.vision.letterbox import Letterbox, Size

PictureTask = Literal["detect", "pose", "classify"]


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model: its name, and its shape for the black picture that was tried.

    `values` is what came out for it, without the batch axis, where one was run.
    """

    name: str
    shape: tuple[int, ...]
    values: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a model: what its file says, and what came out of it for one picture of `input_size`.

    `class_names` and `task` are None where the file does not say. `keypoint_shape` is K points of 2 or 3
    numbers. `end_to_end`: the file says that its boxes are finished. `element` is the type of its picture
    input, `input_names` all its inputs in order, `said` the file's whole metadata.
    """

    task: PictureTask | None
    class_names: Mapping[int, str] | None
    keypoint_shape: tuple[int, int] | None
    end_to_end: bool
    input_size: Size
    element: Element
    input_names: tuple[str, ...]
    outputs: tuple[Output, ...]
    said: Mapping[str, str]


class Head(Protocol):
    """Decodes one family's output for one model. Stateless: every lane calls it."""

    @property
    def task(self) -> PictureTask: ...

    @property
    def class_names(self) -> Mapping[int, str]:
        """By class id; made up (``class-0``) where the file names none."""

    @property
    def feeding(self) -> Feeding:
        """How this family wants its pictures."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Which of the model's outputs are decoded, in the order in which `decode` takes them."""

    def decode(
        self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox, thresholds: Thresholds
    ) -> Detections:
        """One picture's part of each output, without the batch axis.

        Raises:
            TransientError: the numbers are no detections (NaN, confidences beyond 1).
        """
