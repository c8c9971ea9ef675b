"""The machine itself as a sensor."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from agent.adapters.pacing import Pacer, machine_now
from agent.adapters.sensors import thermal
from agent.domain.reading import Reading
from agent.domain.stamp import Stamp

_PATIENCE_S = 10.0


class SystemSensor:
    """Fulfils `ports.ReadingSource`: one set of readings at once, then one every `every_s` seconds.

    | name | unit | what |
    |---|---|---|
    | temperature_… | °C | by thermal zone or chip, the highest of each |
    | load_1min | | processes that run or want to, mean of a minute |
    | cpu_used | % | of all cores, since the last set of readings |
    | memory_used | % | of the memory, without what could be given back at once |
    | disk_used | % | of the file system that `disk` lies on |
    | cpu_frequency, cpu_frequency_share | MHz, % | of the fastest core; of its most |
    | cooling_… | % | how hard each cooling device works |
    | throttled, undervoltage | | 1 or 0 |

    What a machine does not tell is not reported. `root` is where /sys is looked for.
    """

    def __init__(
        self,
        *,
        every_s: float,
        root: Path = Path("/"),
        disk: Path = Path("/"),
        now: Callable[[], Stamp] = machine_now,
        pacer: Pacer | None = None,
    ) -> None:
        self._every_s = every_s
        self._root = root
        self._disk = disk
        self._now = now
        self._pacer = pacer or Pacer()
        self._count = 0
        self._cpu_times = (0.0, 0.0)

    @property
    def patience_s(self) -> float:
        return self._every_s + _PATIENCE_S

    def open(self) -> None:
        self._count = 0
        self._cpu_times = _cpu_times()
        self._pacer.restart()

    def read(self) -> Sequence[Reading] | None:
        if not self._pacer.wait_until(self._count * self._every_s):
            return None
        self._count += 1
        at = self._now()
        return [Reading(name=name, value=value, unit=unit, at=at) for name, value, unit in self._figures()]

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        """Nothing is held."""

    def _figures(self) -> Iterator[tuple[str, float, str]]:
        for name, celsius in thermal.temperatures_c(self._root).items():
            yield f"temperature_{name}", round(celsius, 1), "°C"
        yield "load_1min", round(os.getloadavg()[0], 2), ""
        used = self._cpu_used_percent()
        if used is not None:
            yield "cpu_used", round(used, 1), "%"
        yield "memory_used", psutil.virtual_memory().percent, "%"
        with suppress(OSError):  # not mounted at this moment
            yield "disk_used", psutil.disk_usage(str(self._disk)).percent, "%"
        frequency = thermal.cpu_frequency_mhz(self._root)
        if frequency is not None:
            now_mhz, most_mhz = frequency
            yield "cpu_frequency", round(now_mhz, 1), "MHz"
            yield "cpu_frequency_share", round(100 * now_mhz / most_mhz, 1), "%"
        for name, percent in thermal.cooling_percent(self._root).items():
            yield f"cooling_{name}", round(percent, 1), "%"
        for name, flag in (
            ("throttled", thermal.is_throttled(self._root)),
            ("undervoltage", thermal.is_undervolted(self._root)),
        ):
            if flag is not None:
                yield name, float(flag), ""

    def _cpu_used_percent(self) -> float | None:
        """Since the last call; None where the kernel has counted too little in between."""
        idle_before, total_before = self._cpu_times
        idle, total = self._cpu_times = _cpu_times()
        if total - total_before < 0.1:
            return None
        return max(0.0, 100 * (1 - (idle - idle_before) / (total - total_before)))


def _cpu_times() -> tuple[float, float]:
    """Idle and total seconds of all cores since boot."""
    times = psutil.cpu_times()
    # Guests' time is counted within user's. Source: proc_stat(5).
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return times.idle + getattr(times, "iowait", 0.0), sum(times) - guest
