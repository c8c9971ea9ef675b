"""Time for a `Pacer` that passes only while it is waited for."""

from agent.adapters.pacing import Pacer


class SteppedTime:
    """Monotonic seconds; a wait takes as long as it was asked to, at once. `waits` are those, in order."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now_s += seconds

    def pacer(self, *, most_late_s: float = 1.0) -> Pacer:
        return Pacer(most_late_s=most_late_s, monotonic_s=self.monotonic_s, wait=self.wait)
