"""A rate that is kept on average, with bursts that are bounded. Pure."""

from math import inf


class TokenBucket:
    """Begins full; fills up by `per_s` tokens a second until it holds `burst`. None: there is no bound.

    Source: Tanenbaum, "Computer Networks", the token bucket.
    """

    def __init__(self, *, per_s: float | None, burst: float = 1.0) -> None:
        self._filled_ns: int | None = None
        self.tokens = inf
        self.alter(per_s=per_s, burst=burst)

    def alter(self, *, per_s: float | None, burst: float = 1.0) -> None:
        """Another rate from now on; what is in it stays, as far as it holds that."""
        if per_s is not None and (per_s <= 0 or burst < 1):
            raise ValueError(f"a bucket fills, and holds at least one token; not {per_s:g}/s up to {burst:g}")
        self._per_ns = 0.0 if per_s is None else per_s / 1e9
        self._burst = inf if per_s is None else burst
        self.tokens = min(self.tokens, self._burst)

    def fill(self, now_ns: int) -> None:
        """Bring it up to monotonic time `now_ns`."""
        if self._filled_ns is not None and now_ns > self._filled_ns:
            self.tokens = min(self._burst, self.tokens + (now_ns - self._filled_ns) * self._per_ns)
        self._filled_ns = now_ns if self._filled_ns is None else max(now_ns, self._filled_ns)

    @property
    def has_one(self) -> bool:
        return self.tokens >= 1.0

    def take(self) -> None:
        self.tokens -= 1.0
