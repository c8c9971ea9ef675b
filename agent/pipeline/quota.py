"""The broker says that we send too much: how long all rows wait. Pure."""

from random import Random
from typing import Final

from agent.pipeline.backoff import Backoff

_BASE_S: Final = 1.0
_CAP_S: Final = 60.0


class Quota:
    """While it is exceeded, rows wait, with full jitter; then one is sent by itself, until one is taken.

    Else each row of a long backlog would be sent in vain, and the broker be kept busy with refusing them.
    Source: MQTT 5.0, 3.4.2.1, PUBACK 0x97, quota exceeded.
    """

    def __init__(self, *, random: Random) -> None:
        self._backoff = Backoff(base_s=_BASE_S, cap_s=_CAP_S, random=random)
        self._exceeded_ns = 0
        self._until_ns = 0

    def allows(self, now_ns: int, *, in_flight: int) -> bool:
        """Whether a row may be sent."""
        return self._backoff.failures == 0 or (in_flight == 0 and now_ns >= self._until_ns)

    def exceeded(self, *, sent_ns: int, now_ns: int) -> None:
        """A row sent at `sent_ns` was too much. What was on its way with it says the same again."""
        if self._backoff.failures and sent_ns < self._exceeded_ns:
            return
        self._exceeded_ns = now_ns
        self._until_ns = now_ns + int(self._backoff.next_delay_s() * 1e9)

    def taken(self, *, sent_ns: int) -> None:
        """A row was taken that was sent since."""
        if self._backoff.failures and sent_ns >= self._exceeded_ns:
            self._backoff.reset()
