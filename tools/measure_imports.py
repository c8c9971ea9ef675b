"""Measure what importing each dependency costs: CPU time and peak memory, each in its own process.

usage: python tools/measure_imports.py [--rounds N] [PACKAGE ...]

A package is imported alone, above the bare interpreter, and on top of all the others: the memory that
leaving it out would save (numpy, asyncio and ssl are shared by many; time drifts too much for that).
The packages are measured in turn, round after round, so that a slow moment of the machine meets all
of them alike; printed are medians. Memory is VmHWM, the peak of the resident set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final

PACKAGES: Final = (
    *("numpy", "cv2", "onnxruntime", "paho.mqtt.client", "pydantic.main", "pydantic_settings", "structlog"),
    *("prometheus_client", "psutil", "typer", "rich.live", "yaml", "ulid"),
)

_PROBE: Final = """
import importlib, json, sys, time
began = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
took = time.process_time() - began
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps([took * 1000, peak / 1024]))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What importing some packages costs a process."""

    took_ms: float
    peak_mb: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.took_ms - other.took_ms, self.peak_mb - other.peak_mb)


def import_once(names: tuple[str, ...]) -> Cost:
    """Import these, in order, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *names], capture_output=True, text=True, timeout=120, check=True
    )
    return Cost(*json.loads(done.stdout))


def measure(asked: Iterable[tuple[str, ...]], *, rounds: int) -> dict[tuple[str, ...], Cost]:
    """The median cost of each set of packages, after a first round that only warms the disk's cache."""
    costs: dict[tuple[str, ...], list[Cost]] = {names: [] for names in asked}
    for number in range(rounds + 1):
        for names, measured in costs.items():
            cost = import_once(names)
            if number > 0:
                measured.append(cost)
    return {
        names: Cost(median(cost.took_ms for cost in measured), median(cost.peak_mb for cost in measured))
        for names, measured in costs.items()
    }


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description="import time and memory of each dependency")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    arguments = parser.parse_args()
    everything = tuple(arguments.packages)
    without = {name: tuple(other for other in everything if other != name) for name in everything}
    alone = [(name,) for name in everything]
    costs = measure([(), everything, *alone, *without.values()], rounds=arguments.rounds)
    bare, all_of_it = costs[()], costs[everything]
    print(
        f"Python {sys.version.split()[0]}, {arguments.rounds} rounds; bare interpreter: {bare.peak_mb:.1f} MB"
    )
    print("\n| import | alone, CPU ms | alone, MB | on top, MB |\n|---|---:|---:|---:|")
    for name in everything:
        one = costs[name,] - bare
        more_mb = all_of_it.peak_mb - costs[without[name]].peak_mb
        print(f"| `{name}` | {one.took_ms:.0f} | {one.peak_mb:.1f} | {more_mb:.1f} |")
    total = all_of_it - bare
    print(f"| all of these | {total.took_ms:.0f} | {total.peak_mb:.1f} | |")


if __name__ == "__main__":
    main()
