"""Moments, in both of a node's times."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_FIRST_S: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_S: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment: `wall_ns` since the Unix epoch (may step), `monotonic_ns` since boot (never does)."""

    wall_ns: int
    monotonic_ns: int


def age_ns(made: Stamp, now: Stamp, *, same_boot: bool, walls_right: bool) -> int:
    """How long ago `made` was, at least; never negative, whatever the wall clock does.

    Within one boot the monotonic clock tells. Of another boot's moment the wall clock tells only if it was
    right then and is right now (`walls_right`); if not, all that is certain is that it is older than this
    boot. So a wrong clock keeps a message for too long rather than lets it expire.

    >>> made = Stamp(wall_ns=0, monotonic_ns=5_000)
    >>> age_ns(made, Stamp(10**18, 7_000), same_boot=True, walls_right=False)
    2000
    >>> age_ns(made, Stamp(10**18, 7_000), same_boot=False, walls_right=False)
    7000
    """
    if same_boot:
        return max(0, now.monotonic_ns - made.monotonic_ns)
    return max(now.wall_ns - made.wall_ns if walls_right else 0, now.monotonic_ns)


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as a sentence for a person tells them; `datetime.fromisoformat` reads it.

    >>> utc_text(1_700_000_000)
    '2023-11-14T22:13:20+00:00'
    """
    # With a zone, a document can name hours before the year 1 and after the year 9999.
    within = min(max(seconds, _FIRST_S), _LAST_S)
    return datetime.fromtimestamp(within, tz=UTC).isoformat(timespec="seconds")


def rfc3339(wall_ns: int) -> str:
    """UTC with milliseconds, as every payload tells time (RFC 3339).

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    whole, rest_ns = divmod(wall_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(whole, tz=UTC).replace(microsecond=rest_ns // 1_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
