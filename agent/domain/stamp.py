"""Moments, in both of a node's times."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment: `wall_ns` since the Unix epoch (may step), `monotonic_ns` since boot (never does)."""

    wall_ns: int
    monotonic_ns: int


def rfc3339(wall_ns: int) -> str:
    """UTC with milliseconds, as every payload tells time (RFC 3339).

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    whole, rest_ns = divmod(wall_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(whole, tz=UTC).replace(microsecond=rest_ns // 1_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
