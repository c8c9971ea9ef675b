"""Time as the kernel tells it: the clock port."""

import ctypes
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from agent import __released__
from agent.domain.errors import Code, ConfigError
from agent.domain.stamp import Stamp

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNCD_MARKER: Final = Path("/run/systemd/timesync/synchronized")
_SYNCED_FOR_NS: Final = 2_000_000_000
_UNSYNCED_MAXERROR_US: Final = 16_000_000
"""The kernel lets the maximum error grow by 500 ppm and gives up at 16 s. Asked in preference to STA_UNSYNC,
which stays set under a chrony that keeps the time but was not told to write the RTC.

Source: adjtimex(2); systemd, commit bca5a0eacc ("improve detection of synchronized clock").
"""

RELEASED_S: Final = datetime.fromisoformat(__released__).timestamp()
"""When this version was released, in seconds since 1970."""


class _Timex(ctypes.Structure):
    """`struct timex`, as far as it is read. Source: <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_long * 48),  # the kernel writes a little over 20 longs
    )


def kernel_maxerror_us() -> int | None:
    """How wrong the wall clock may be at most, by the kernel's account; None where it may not be asked."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return None
    timex = _Timex(modes=0)  # no mode: read only
    if adjtimex(ctypes.byref(timex)) < 0:
        return None
    return int(timex.maxerror)


class SystemClock:
    """The machine's wall and monotonic clocks; fulfils `ports.Clock`.

    Raises:
        ConfigError: the kernel does not tell its boot id (no /proc).
    """

    def __init__(
        self,
        *,
        boot_id: Path = _BOOT_ID,
        maxerror_us: Callable[[], int | None] = kernel_maxerror_us,
        marker: Path = _TIMESYNCD_MARKER,
    ) -> None:
        try:
            self._boot = boot_id.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{boot_id} cannot be read ({error}); the agent needs Linux with /proc mounted",
                code=Code.FILE,
                path=str(boot_id),
            ) from error
        self._maxerror_us = maxerror_us
        self._marker = marker
        self._synced = (-_SYNCED_FOR_NS, False)

    @property
    def boot(self) -> str:
        return self._boot

    def now(self) -> Stamp:
        return Stamp(wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())

    def synced(self) -> bool:
        """Whether something keeps the wall clock right. Asked of the kernel at most every 2 s.

        Never before the time at which this version was released, whoever keeps such a clock.

        Reading needs no privilege. Where a sandbox forbids even that, the marker that systemd-timesyncd
        leaves is looked for; where there is neither, the clock counts as unsynced.
        """
        asked_ns, synced = self._synced
        now_ns = time.monotonic_ns()
        if now_ns - asked_ns >= _SYNCED_FOR_NS:
            maxerror_us = self._maxerror_us()
            synced = self._marker.exists() if maxerror_us is None else maxerror_us < _UNSYNCED_MAXERROR_US
            synced = synced and time.time() >= RELEASED_S
            self._synced = (now_ns, synced)
        return synced
