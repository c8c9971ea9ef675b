"""Whether the machine is slowed down by heat or for want of power, as the kernel tells it under /sys."""

from pathlib import Path
from typing import Final

from agent.adapters import sysfs

_ROOT: Final = Path("/")

_THROTTLERS: Final = ("throttle", "alert", "balanced", "cpufreq", "devfreq", "processor", "powerclamp")
"""Parts of the names of cooling devices that cool by doing less; the others are fans, radios and chargers."""

_PI_FLAGS: Final = {0x2: "capped frequency", 0x4: "firmware", 0x8: "soft temperature limit"}
"""Source: Raspberry Pi documentation, get_throttled: bits 1 to 3 are of this moment."""


def raspberry_flags(root: Path) -> int | None:
    """The bits of a Raspberry Pi's `get_throttled`; None on other machines."""
    said = sysfs.text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        return int(said, 16)
    except ValueError:
        return None


def throttlers(root: Path) -> tuple[str, ...] | None:
    """Who slows the machine down at this moment; None where nothing tells.

    A Raspberry Pi's firmware knows best. Elsewhere these are cooling devices that cool by doing less.
    Source: Documentation/ABI/testing/sysfs-class-thermal of the kernel.
    """
    flags = raspberry_flags(root)
    if flags is not None:
        return tuple(name for bit, name in _PI_FLAGS.items() if flags & bit)
    active: set[str] = set()
    told = False
    for device in (root / "sys/class/thermal").glob("cooling_device*"):
        kind = sysfs.text(device / "type").lower()
        state = sysfs.number(device / "cur_state")
        if state is None or not any(part in kind for part in _THROTTLERS):
            continue
        told = True
        if state > 0:
            active.add(kind)
    return tuple(sorted(active)) if told else None


class Throttling:
    """What slows the machine down, looked at again and again: some of it shows only as a change since `read`.

    x86 counts throttling events, and a core's highest allowed frequency falls below what it was. A limit
    that was there from the beginning is somebody's choice (`nvpmodel`, `cpupower`), not heat.
    """

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        self._events: dict[Path, float] = {}
        self._allowed_khz: dict[Path, float] = {}

    def read(self) -> tuple[str, ...]:
        """Who slows the machine down, or did since the last call. Reads files: call it off the event loop."""
        found = list(throttlers(self._root) or ())
        if self._events_counted():
            found.append("thermal events")
        if self._is_capped():
            found.append("capped frequency")
        return tuple(dict.fromkeys(found))

    def _events_counted(self) -> bool:
        """Source: Documentation/admin-guide/thermal of the kernel; arch/x86/kernel/cpu/mce/therm_throt.c."""
        counted = False
        for file in (self._root / "sys/devices/system/cpu").glob(
            "cpu[0-9]*/thermal_throttle/*_throttle_count"
        ):
            count = sysfs.number(file)
            if count is not None:
                counted |= count > self._events.get(file, count)
                self._events[file] = count
        return counted

    def _is_capped(self) -> bool:
        """Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel; heat lowers this maximum."""
        capped = False
        for file in (self._root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"):
            allowed_khz = sysfs.number(file)
            if allowed_khz is not None:
                highest_khz = max(allowed_khz, self._allowed_khz.get(file, allowed_khz))
                self._allowed_khz[file] = highest_khz
                capped |= allowed_khz < highest_khz
        return capped
