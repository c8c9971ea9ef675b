"""A camera that does what its script says."""

import threading
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agent.domain.errors import NanofleetError

HANG: Final = "hang"
"""A step that does not come back until `ScriptedCamera.release` is set, whatever its patience."""

Step = NDArray[np.uint8] | NanofleetError | Literal["hang"]


class ScriptedCamera:
    """Fulfils `ports.FrameSource`: one step of its script a read, then the end.

    A step is a picture, an error that is raised, or `HANG`. `fails_to_open` is raised by `open`. `calls` has
    the names of the methods that were called, in order.
    """

    def __init__(
        self,
        script: Iterable[Step] = (),
        *,
        patience_s: float = 5.0,
        fails_to_open: NanofleetError | None = None,
    ) -> None:
        self._script = tuple(script)
        self._fails_to_open = fails_to_open
        self._next = 0
        self._interrupted = threading.Event()
        self.patience_s = patience_s
        self.release = threading.Event()
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")
        if self._fails_to_open is not None:
            raise self._fails_to_open
        self._next = 0

    def read(self) -> NDArray[np.uint8] | None:
        self.calls.append("read")
        if self._next == len(self._script) or self._interrupted.is_set():
            return None
        step = self._script[self._next]
        self._next += 1
        if isinstance(step, str):
            self.release.wait()
            return None
        if isinstance(step, NanofleetError):
            raise step
        return step.copy()

    def interrupt(self) -> None:
        self.calls.append("interrupt")
        self._interrupted.set()

    def close(self) -> None:
        self.calls.append("close")
