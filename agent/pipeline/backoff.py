"""How long to wait before the next attempt."""

from random import Random


class Backoff:
    """Exponential back-off with full jitter: a random wait below a bound that doubles at each failure.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015), "full jitter".
    """

    def __init__(self, *, base_s: float, cap_s: float, random: Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._random = random
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def next_delay_s(self) -> float:
        """Count a failure; seconds to wait because of it."""
        bound_s = min(self._cap_s, self._base_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._random.uniform(0.0, bound_s)

    def reset(self) -> None:
        """It worked: the next failure is the first."""
        self._failures = 0
