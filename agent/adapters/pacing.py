"""Keeping to a schedule on the monotonic clock, for sources that give things at their time."""

import threading
import time
from collections.abc import Callable

from agent.domain.stamp import Stamp


class Pacer:
    """One schedule: it begins with the first wait, never drifts, and can be interrupted.

    Lateness up to `most_late_s` is caught up by waiting less; beyond it the schedule moves, so that a stall
    is not followed by a burst. One thread waits; any thread may interrupt.
    """

    def __init__(
        self,
        *,
        most_late_s: float = 1.0,
        monotonic_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._most_late_s = most_late_s
        self._monotonic_s = monotonic_s
        self._interrupted = threading.Event()
        self._wait = wait or self._interrupted.wait
        self._began_s: float | None = None

    @property
    def interrupted(self) -> bool:
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """End the present wait and all later ones. From any thread."""
        self._interrupted.set()

    def restart(self) -> None:
        """The next wait begins the schedule anew."""
        self._began_s = None

    def wait_until(self, due_s: float) -> bool:
        """Wait until `due_s` seconds on the schedule, whose first moment is due at once.

        False: interrupted.
        """
        now_s = self._monotonic_s()
        if self._began_s is None:
            self._began_s = now_s - due_s
        late_s = now_s - (self._began_s + due_s)
        if late_s > self._most_late_s:
            self._began_s += late_s
        while not self._interrupted.is_set():
            left_s = self._began_s + due_s - self._monotonic_s()
            if left_s <= 0:
                return True
            self._wait(left_s)
        return False


def machine_now() -> Stamp:
    """This moment in both of the machine's times."""
    return Stamp(wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())
