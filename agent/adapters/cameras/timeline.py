"""When each frame of a file is due, by the file's own stamps."""

from typing import Final

MOST_GAP_S: Final = 30.0
"""A longer gap between two stamps is taken for a broken stamp, and not waited for."""

_USUAL_RATE_HZ: Final = 25.0


class Timeline:
    """Seconds since the first frame. A stamp that does not rise, or leaps, counts as the nominal distance."""

    def __init__(self, *, rate_hz: float) -> None:
        """`rate_hz` is what the container says; not a usable number: 25."""
        usable = 1 / MOST_GAP_S <= rate_hz <= 1000
        self._step_s = 1 / (rate_hz if usable else _USUAL_RATE_HZ)
        self._last_s: float | None = None
        self.due_s = 0.0
        """Of the frame that was last passed to `advance`."""

    @property
    def end_s(self) -> float:
        """When that frame has been shown for as long as frames are shown."""
        return self.due_s + self._step_s

    def advance(self, stamp_s: float) -> float:
        """When the next frame is due, whose stamp is `stamp_s`."""
        if self._last_s is not None:
            gap_s = stamp_s - self._last_s
            self.due_s += gap_s if 0 < gap_s <= MOST_GAP_S else self._step_s
        self._last_s = stamp_s
        return self.due_s
