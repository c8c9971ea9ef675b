"""Cameras and sensors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.domain.reading import Reading


class FrameSource(Protocol):
    """A camera. One capture thread of its own calls `open`, then `read` until it ends, then `close`.

    A call may block, but no longer than `patience_s`: past that the supervisor takes the thread for hung
    and abandons it.
    """

    @property
    def patience_s(self) -> float:
        """Longest time that one `open` or `read` may take when all is well, in seconds."""

    def open(self) -> None:
        """Raises: TransientError (try again later), RefusedError (not with this configuration)."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture: uint8 `[height, width, 3]`, BGR, contiguous, never written to again.

        Paced sources wait here until the picture is due. None is the regular end (a file read once).

        Raises:
            TransientError: the stream broke; the source will be closed and opened again.
            RefusedError: so it did, and the same again is to be expected (a damaged file).
        """

    def interrupt(self) -> None:
        """Nothing more is wanted: a `read` that waits for its time returns None at once.

        Called from another thread (the event loop's), at any moment; never blocks, never raises. Only `close`
        follows. A call that waits for a device or a host ends by its own timeout.
        """

    def close(self) -> None:
        """Give everything back. Called once after each `open`, also after a failed one; never raises."""


class ReadingSource(Protocol):
    """A sensor. Called as a `FrameSource` is, from a capture thread of its own."""

    @property
    def patience_s(self) -> float: ...

    def open(self) -> None: ...

    def read(self) -> Sequence[Reading] | None:
        """The next readings, of one moment or of consecutive ones, oldest first; None at the end."""

    def interrupt(self) -> None: ...

    def close(self) -> None: ...
