"""Temperatures, throttling and frequencies, as the kernel tells them under /sys.

Whatever a board does not tell is left out. `root` is where /sys lies: / but in tests.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.adapters import sysfs
from agent.adapters.throttling import raspberry_flags, throttlers

_PLAUSIBLE_C: Final = (-40.0, 150.0)
"""A zone whose block is powered down says something like -256."""

_UNTRUE: Final = ("pmic",)
"""PMIC-Die on a Jetson Nano says 100 °C whatever happens."""

_PI_UNDERVOLTAGE: Final = 0x1
"""Source: Raspberry Pi documentation, get_throttled."""


def temperatures_c(root: Path) -> dict[str, float]:
    """The highest temperature in °C of each thermal zone's type and of each hwmon chip, by cleaned name.

    Source: Documentation/ABI/testing/sysfs-class-thermal and sysfs-class-hwmon of the kernel.
    """
    highest: dict[str, float] = {}
    for name, value in _temperature_files(root):
        celsius = sysfs.number(value)
        if not name or celsius is None or any(part in name for part in _UNTRUE):
            continue
        if _PLAUSIBLE_C[0] < celsius / 1000 < _PLAUSIBLE_C[1]:
            highest[name] = max(highest.get(name, -273.15), celsius / 1000)
    return dict(sorted(highest.items()))


def cooling_percent(root: Path) -> dict[str, float]:
    """How hard each kind of cooling device works, as a percentage of its most, by cleaned name."""
    hardest: dict[str, float] = {}
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        name = clean_name(sysfs.text(device / "type"))
        state, most = sysfs.number(device / "cur_state"), sysfs.number(device / "max_state")
        if name and state is not None and most and state >= 0:
            hardest[name] = max(hardest.get(name, 0.0), 100 * state / most)
    return hardest


def is_throttled(root: Path) -> bool | None:
    """Whether the machine does less than it could because of heat or power; None where nothing tells."""
    found = throttlers(root)
    return None if found is None else bool(found)


def is_undervolted(root: Path) -> bool | None:
    """Whether the supply's voltage is too low at this moment; None where nothing tells."""
    raspberry = raspberry_flags(root)
    return None if raspberry is None else bool(raspberry & _PI_UNDERVOLTAGE)


def cpu_frequency_mhz(root: Path) -> tuple[float, float] | None:
    """The fastest core's frequency, and the most that it could have; None where nothing tells.

    Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel; values are in kHz.
    """
    fastest: tuple[float, float] | None = None
    for policy in sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*")):
        now, most = sysfs.number(policy / "scaling_cur_freq"), sysfs.number(policy / "cpuinfo_max_freq")
        if now and most:
            fastest = max(fastest or (0.0, 0.0), (now / 1000, most / 1000))
    return fastest


def clean_name(raw: str) -> str:
    """A name as a reading has it: lower case, one word.

    >>> clean_name("CPU-therm"), clean_name("x86_pkg_temp"), clean_name("cpu-thermal"), clean_name("AO therm")
    ('cpu', 'x86_pkg', 'cpu', 'ao')
    """
    words = re.sub(r"[^a-z0-9]+", "_", raw.lower()).strip("_")
    return re.sub(r"_(therm|thermal|temp)$", "", words)


def _temperature_files(root: Path) -> Iterator[tuple[str, Path]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        yield clean_name(sysfs.text(zone / "type")), zone / "temp"
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = clean_name(sysfs.text(chip / "name"))
        for value in sorted(chip.glob("temp*_input")):
            yield name, value
