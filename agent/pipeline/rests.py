"""Long work in a thread of its own that lets all others go first."""

import time
from collections.abc import Callable
from typing import Final

WORK_S: Final = 0.001
"""Between two rests. Who computes in Python for longer keeps the event loop, and lanes with their next frame,
waiting for the interpreter."""

REST_S: Final = 0.02
"""The longest rest while lanes are busy: what works so has a twentieth of one core."""


class Rests:
    """For one thread. `give_way` waits up to `REST_S`, or until lanes have nothing to do."""

    def __init__(self, give_way: Callable[[], None]) -> None:
        self._give_way = give_way
        self._rested_s = time.monotonic()

    def now_and_then(self) -> None:
        """To be called often."""
        if time.monotonic() - self._rested_s > WORK_S:
            self._give_way()
            self._rested_s = time.monotonic()
