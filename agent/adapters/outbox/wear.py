"""What the outbox writes to the disk, a day, and how long a flash card would bear it.

Counted are the bytes that the kernel charges to the database thread: whole pages, when they first become
dirty, of the log, the file and what lies beside it; not on a file system in memory. SQLite's own page counts
would miss its checkpoints, and the bytes that are handed to `write` count a page again that had not reached
the disk yet. Nobody here sees what the file system adds for its journal, nor what the card writes inside to
put a page into its much larger blocks.
"""

import sqlite3
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.outbox.meta import write_meta
from agent.ports import Metrics

CARD_ENDURANCE_BYTES: Final = 10e12
"""A guess for a 32 GB SD card. Cards for dash cams are rated by hours of recording, which makes 29 TB of the
smallest (SanDisk High Endurance, 32 GB: 2,500 h at 26 Mbit/s), written in long runs; ordinary ones are not
rated at all, and small writes wear more."""

DAY_S: Final = 86_400
_YEAR_S: Final = 365.25 * DAY_S
_LOOK_EVERY_S: Final = 60
_KEEP_EVERY_S: Final = 600
_SAMPLES: Final = DAY_S // _KEEP_EVERY_S + 1


@dataclass(frozen=True, slots=True)
class Worn:
    """So much in `seconds`. `written_bytes` is 0 where the kernel does not count them."""

    seconds: int = 0
    written_bytes: int = 0
    syncs: int = 0

    def __add__(self, other: "Worn") -> "Worn":
        return Worn(
            self.seconds + other.seconds,
            self.written_bytes + other.written_bytes,
            self.syncs + other.syncs,
        )

    @property
    def bytes_per_day(self) -> float:
        return self.written_bytes * DAY_S / self.seconds if self.seconds else 0.0

    @property
    def syncs_per_day(self) -> float:
        return self.syncs * DAY_S / self.seconds if self.seconds else 0.0

    def life_years(self, endurance_bytes: float) -> float | None:
        """How long a new card would last that bears `endurance_bytes`; None where nothing was written."""
        return endurance_bytes / self.bytes_per_day * DAY_S / _YEAR_S if self.written_bytes else None


class Wear:
    """Counts for the database thread, which alone uses it, and tells metrics.

    Now and then the totals are kept in the file, where `nanofleet outbox wear` finds them.
    """

    def __init__(
        self, *, metrics: Metrics, endurance_bytes: float, counters: Path = Path("/proc/thread-self/io")
    ) -> None:
        self._metrics = metrics
        self._endurance_bytes = endurance_bytes
        self._counters = counters
        self._began: tuple[int, int] | None = None
        self._syncs = 0
        self._told_bytes = 0
        self._looked_s = 0
        self._kept_s = 0
        self._samples: deque[Worn] = deque([Worn()], maxlen=_SAMPLES)
        self._before = Worn()

    def resume(self, connection: sqlite3.Connection) -> None:
        """Go on with the totals of the runs before, which the file keeps."""
        self._before = read_worn(connection)[0] if self._began is None else self._before

    def synced(self) -> None:
        """The outbox has waited for the disk itself."""
        self._syncs += 1
        self._metrics.count("outbox_syncs_total")

    def keep_due(self, now_ns: int) -> bool:
        """Look, if it is time; whether the totals have changed by enough to be kept."""
        if self._began is None:
            self._began = now_ns, self._written()
        seconds = (now_ns - self._began[0]) // 1_000_000_000
        if seconds - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = seconds
        self._tell(self._now(seconds))
        if seconds - self._kept_s < _KEEP_EVERY_S:
            return False
        self._kept_s = seconds
        self._samples.append(self._now(seconds))
        return True

    def keep(self, connection: sqlite3.Connection) -> None:
        """Write the totals as of the last look, and those of the last day; inside a transaction."""
        now = self._now(self._looked_s)
        for name, worn in (("all", self._before + now), ("day", self._last_day(now))):
            values = {
                f"wear_{name}_seconds": worn.seconds,
                f"wear_{name}_bytes": worn.written_bytes,
                f"wear_{name}_syncs": worn.syncs,
            }
            write_meta(connection, **values)

    def _tell(self, now: Worn) -> None:
        self._metrics.count("outbox_written_bytes_total", now.written_bytes - self._told_bytes)
        self._told_bytes = now.written_bytes
        day = self._last_day(now)
        self._metrics.gauge("outbox_syncs_per_day", day.syncs_per_day)
        life_years = day.life_years(self._endurance_bytes)
        if life_years is not None:
            self._metrics.gauge("outbox_written_bytes_per_day", day.bytes_per_day)
            self._metrics.gauge("outbox_card_life_years", life_years)

    def _last_day(self, now: Worn) -> Worn:
        first = self._samples[0]
        return Worn(
            now.seconds - first.seconds, now.written_bytes - first.written_bytes, now.syncs - first.syncs
        )

    def _now(self, seconds: int) -> Worn:
        began_bytes = 0 if self._began is None else self._began[1]
        return Worn(seconds, max(0, self._written() - began_bytes), self._syncs)

    def _written(self) -> int:
        """Source: proc_pid_io(5), `write_bytes`. A kernel may be built without it."""
        try:
            lines = self._counters.read_text(encoding="ascii").splitlines()
            return int(dict(line.split(": ") for line in lines)["write_bytes"])
        except (OSError, KeyError, ValueError):
            return 0


def read_worn(connection: sqlite3.Connection) -> tuple[Worn, Worn]:
    """What the file tells of all runs together, and of the last day of the latest."""
    found = dict(
        connection.execute(
            "SELECT name, value FROM meta WHERE name GLOB 'wear_*' AND typeof(value) = 'integer'"
        )
    )
    return _worn(found, "all"), _worn(found, "day")


def _worn(found: dict[str, int], name: str) -> Worn:
    """Figures for a person: what is damaged or missing counts as nothing."""
    seconds, written, syncs = (
        max(0, found.get(f"wear_{name}_{figure}", 0)) for figure in ("seconds", "bytes", "syncs")
    )
    return Worn(seconds, written, syncs)
