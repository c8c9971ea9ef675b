"""The latest time that this node has known for certain: for a board that starts without knowing any."""

from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from agent.adapters.durable import replace_file
from agent.adapters.system.clock import RELEASED_S
from agent.domain.stamp import utc_text
from agent.ports import Clock

log = structlog.get_logger(__name__)

FLOOR_FILE: Final = "time-floor"
_EVERY_S: Final = 3600.0
_AHEAD_S: Final = 86_400.0


class TimeFloor:
    """A time that has passed, kept in `state_dir` and never put back; at least the release of this version.

    Reads its file when made, and waits for the disk in `note`: not for the event loop.
    """

    def __init__(self, *, state_dir: Path, clock: Clock) -> None:
        self._file = state_dir / FLOOR_FILE
        self._clock = clock
        self._stored_s = self._read()

    @property
    def floor_s(self) -> float:
        """It is this time or later; seconds since 1970."""
        return max(RELEASED_S, self._stored_s)

    def instead_of_clock(self) -> float | None:
        """`floor_s`, if the clock is wrong for certain: nobody keeps it, and it says an earlier time."""
        floor_s = self.floor_s
        return None if self._clock.synced() or self._now_s() >= floor_s else floor_s

    def note(self, *, at_end: bool = False) -> str | None:
        """Store the time if known, at most hourly until `at_end`. What is wrong, for a person."""
        if (floor_s := self.instead_of_clock()) is not None:
            now = utc_text(self._now_s())
            return f"this node's clock is not set: it says {now}, and it is {utc_text(floor_s)} or later"
        if not self._clock.synced():
            return None
        now_s = self._now_s()
        if self.floor_s - now_s > _AHEAD_S:
            return (
                f"{self._file} says that {utc_text(self.floor_s)} has passed, and the clock, which is kept, "
                f"says {utc_text(now_s)}; delete the file, or certificates look expired while no time is "
                "known"
            )
        if now_s - self._stored_s >= (1.0 if at_end else _EVERY_S):
            self._store(now_s)
        return None

    def _now_s(self) -> float:
        return self._clock.now().wall_ns / 1e9

    def _read(self) -> float:
        try:
            return datetime.fromisoformat(self._file.read_text(encoding="ascii").strip()).timestamp()
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, OverflowError) as error:
            log.warning("time_floor.unreadable", file=str(self._file), error=str(error))
            return 0.0

    def _store(self, now_s: float) -> None:
        """Replace the file as a whole; a disk that refuses is logged, and tried again in an hour."""
        self._stored_s = now_s
        try:
            replace_file(self._file, f"{utc_text(now_s)}\n".encode("ascii"))
        except OSError as error:
            log.warning("time_floor.write_failed", file=str(self._file), error=str(error))
