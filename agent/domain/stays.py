"""Since when each track of a camera has stood in its zones, on the node and where its messages are tried."""

from collections.abc import Collection, Iterable
from typing import Final

BRIEF_NS: Final = 1_000_000_000
"""Who leaves a zone and is back within a second has not left: boxes tremble at edges, too."""


class Stays:
    """Times are monotonic nanoseconds. What is out of sight is taken to have stayed where it was."""

    def __init__(self) -> None:
        self._stays: dict[int, _Stay] = {}

    @property
    def tracks(self) -> Collection[int]:
        """Those of which anything is known."""
        return self._stays.keys()

    def since(self, track: int, zones: Iterable[str], at_ns: int) -> dict[str, int]:
        """`track` is seen in `zones`: since when it has stood in each."""
        return self._stays.setdefault(track, _Stay()).since(zones, at_ns)

    def keep_only(self, tracks: Collection[int]) -> None:
        """All others will not come back."""
        self._stays = {number: stay for number, stay in self._stays.items() if number in tracks}

    def forget_zones(self, names: Collection[str]) -> None:
        """Who stands in these has not stood there before."""
        for stay in self._stays.values():
            stay.forget(names)


class _Stay:
    """Of one track."""

    def __init__(self) -> None:
        self._last_seen_ns = 0
        self._stood: dict[str, tuple[int, int]] = {}  # zone: since when, and when last

    def since(self, zones: Iterable[str], at_ns: int) -> dict[str, int]:
        since = {}
        for zone in zones:
            began_ns, last_ns = self._stood.get(zone, (at_ns, at_ns))
            stayed = last_ns == self._last_seen_ns or at_ns - last_ns <= BRIEF_NS
            since[zone] = began_ns if stayed else at_ns
            self._stood[zone] = (since[zone], at_ns)
        self._last_seen_ns = at_ns
        return since

    def forget(self, zones: Collection[str]) -> None:
        for zone in zones:
            self._stood.pop(zone, None)
