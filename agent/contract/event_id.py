"""Names of events: ULIDs, which sort by the time of their making."""

from ulid import ULID


def new_event_id(wall_ns: int) -> str:
    """A name that nothing else has; `wall_ns` since 1970.

    >>> len(new_event_id(1_700_000_000_000_000_000))
    26
    """
    return str(ULID.from_timestamp(wall_ns / 1e9))
