"""How hot the machine is, for the heartbeat."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SYS: Final = Path("/sys")

_KINDS: Final = (
    # PMIC-Die on a Jetson Nano says 100 °C whatever happens.
    ("", ("pmic",)),
    ("gpu", ("gpu", "nouveau")),
    ("cpu", ("cpu", "x86_pkg", "coretemp", "k10temp", "zenpower")),
    ("disk", ("nvme", "drivetemp")),
    ("board", ("soc", "tj", "acpitz", "board", "tdiode")),
)
"""Kind by parts of a sensor's name, first match wins; the nameless kind is not told."""

HEATED_BY_INFERENCE: Final = frozenset({"cpu", "gpu", "board"})
"""A disk has limits of its own."""

_PLAUSIBLE_C: Final = (-40.0, 150.0)
"""A zone whose block is powered down says something like -256."""


def temperatures_c(*, sys: Path = _SYS) -> dict[str, float]:
    """The highest temperature of each kind, in °C: `{"cpu": 51.0, "gpu": 48.5}`; empty where nothing tells.

    Thermal zones and hwmon are both read: an ARM board may have only the former, an AMD processor only the
    latter (psutil reads zones only where no hwmon sensor exists at all). Reading a sensor may take
    milliseconds: call it off the event loop.

    Source: Documentation/ABI/testing/sysfs-class-thermal and sysfs-class-hwmon of the kernel.
    """
    highest: dict[str, float] = {}
    for name, celsius in _readings(sys):
        kind = _kind(name)
        if kind and _PLAUSIBLE_C[0] < celsius < _PLAUSIBLE_C[1]:
            highest[kind] = max(celsius, highest.get(kind, -math.inf))
    return {kind: round(highest[kind], 1) for kind in sorted(highest)}


def _readings(sys: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted(sys.glob("class/thermal/thermal_zone*")):
        yield from _reading(zone / "type", zone / "temp")
    for chip in sorted(sys.glob("class/hwmon/hwmon*")):
        for value in sorted(chip.glob("temp*_input")):
            yield from _reading(chip / "name", value)


def _reading(name: Path, value: Path) -> Iterator[tuple[str, float]]:
    try:
        yield name.read_text(encoding="utf-8").strip().lower(), int(value.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return  # a sensor that sleeps or vanished between listing and reading tells nothing


def _kind(name: str) -> str | None:
    return next((kind for kind, parts in _KINDS if any(part in name for part in parts)), None)
