"""Why the broker is out of reach, since when, and when to try again."""

from collections import Counter
from random import Random
from typing import Final

from agent.contract.payloads import LastOffline
from agent.domain.stamp import rfc3339
from agent.pipeline.backoff import Backoff
from agent.ports import Clock

SHORT_S: Final = 10.0
"""A break below it is none to a fleet: nothing has come together that would flood a line."""

_WORKED_NS: Final = 2_000_000_000
"""A session that was there for so long has worked: the next failure is the first."""

_TAKEN_OVER_S: Final = 60.0
"""After another client came with our name: two that take turns in seconds would help nobody."""


class Outage:
    """Begins with the process and with each end of a session; `end` sums it up."""

    def __init__(self, *, clock: Clock, random: Random, backoff_base_s: float, backoff_cap_s: float) -> None:
        self._clock = clock
        self._random = random
        self._backoff = Backoff(base_s=backoff_base_s, cap_s=backoff_cap_s, random=random)
        self._since_ns = clock.now().wall_ns
        self._began_ns = clock.now().monotonic_ns
        self._causes: Counter[str] = Counter()
        self._online_since_ns: int | None = None
        self._follows_session = False
        self.last: LastOffline | None = None
        """The last one that is over; None when the broker was there at once."""
        self.length_s = 0.0
        """How long the last one was, whether or not there is anything to tell of it."""
        self.was_short = False
        """Whether the last one was a break of less than `SHORT_S` between two sessions."""

    def fail(self, cause: str) -> float:
        """An attempt failed; seconds until the next one."""
        self._causes[cause] += 1
        if cause == "renewal":
            return 0.0  # asked for by ourselves
        if cause == "taken-over":
            return _TAKEN_OVER_S + self._random.uniform(0.0, _TAKEN_OVER_S)
        return self._backoff.next_delay_s()

    def end(self) -> None:
        """There is a session."""
        now = self._clock.now()
        self._online_since_ns = now.monotonic_ns
        self.length_s = (now.monotonic_ns - self._began_ns) / 1e9
        self.was_short = self._follows_session and self.length_s < SHORT_S
        if self._causes:
            self.last = LastOffline(
                first=rfc3339(self._since_ns), last=rfc3339(now.wall_ns), causes=dict(self._causes)
            )

    def begin(self, cause: str) -> float:
        """The session is lost; seconds until the next attempt."""
        now = self._clock.now()
        if self._online_since_ns is not None and now.monotonic_ns - self._online_since_ns >= _WORKED_NS:
            self._backoff.reset()
        self._online_since_ns = None
        self._follows_session = True
        self._since_ns = now.wall_ns
        self._began_ns = now.monotonic_ns
        self._causes.clear()
        return self.fail(cause)
