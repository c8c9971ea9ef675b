"""Samples of a sensor to try a model on: a CSV file, or the simulated machine that the demo watches."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from agent.adapters.sensors.vibration_signal import CHANNELS, VibrationSignal
from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_SEED: Final = 3_000_000
_WINDOWS_IN_FAULT: Final = 8


@dataclass(frozen=True, slots=True)
class Cutting:
    """How windows are cut: `count` of them for None means as many as there are."""

    window: int
    hop: int
    count: int | None

    def windows(self, values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """`[window, channels]` each, of samples `[samples, channels]`."""
        starts = range(0, len(values) - self.window + 1, self.hop)
        for start in islice(starts, self.count):
            yield values[start : start + self.window]

    def samples(self, count: int) -> int:
        """How many samples make `count` windows."""
        return self.window + (count - 1) * self.hop


def read_csv(path: Path, channels: Sequence[str], cutting: Cutting) -> NDArray[np.float32]:
    """Samples `[samples, channels]`: a row each, the oldest first, under a line with the channels' names.

    Other columns are left alone. Reads no more than `cutting` takes.

    Raises:
        RefusedError: there is no such file, a channel or a number is missing, or it is shorter than a window.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, skipinitialspace=True)
            places = _places(path, [name.strip() for name in next(rows, [])], channels)
            limit = None if cutting.count is None else cutting.samples(cutting.count)
            samples = [_sample(path, rows.line_num, row, places) for row in islice(rows, limit) if row]
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(f"{path} is no CSV file in UTF-8: {error}", code=Code.FILE) from error
    if len(samples) < cutting.window:
        raise RefusedError(
            f"{path.name} has {len(samples)} samples; a window of this model takes {cutting.window}",
            code=Code.FILE,
        )
    return np.array(samples, np.float32)


def simulate_sound(channels: Sequence[str], rate_hz: float, samples: int) -> NDArray[np.float32]:
    """A machine without a fault, `[samples, 3]` in g.

    Raises:
        RefusedError: the model wants other channels than the simulated accelerometer has.
    """
    if tuple(channels) != CHANNELS:
        raise RefusedError(
            f"the simulated machine has the channels {', '.join(CHANNELS)}, this model wants "
            f"{', '.join(channels)}; normal samples from a file would be right (--csv)",
            code=Code.READING,
        )
    return VibrationSignal(rate_hz=rate_hz, seed=_SEED, fault_every_s=1e9, fault_for_s=0).samples(0, samples)


def simulate_faults(rate_hz: float, cutting: Cutting, count: int) -> Iterator[NDArray[np.float32]]:
    """`count` windows `[window, 3]` that lie within a bearing's fault or an imbalance, in turns of both."""
    window_s = cutting.window / rate_hz
    period_s = 2 * _WINDOWS_IN_FAULT * window_s
    machine = VibrationSignal(
        rate_hz=rate_hz, seed=_SEED, fault_every_s=period_s, fault_for_s=_WINDOWS_IN_FAULT * window_s
    )
    given = number = 0
    while given < count:
        first = number * cutting.window
        number += 1
        if machine.is_faulty(first) and machine.is_faulty(first + cutting.window - 1):
            given += 1
            yield machine.samples(first, cutting.window)


def _places(path: Path, header: Sequence[str], channels: Sequence[str]) -> dict[str, int]:
    if missing := [name for name in channels if name not in header]:
        raise RefusedError(
            f"{path.name} lacks {', '.join(missing)}: its first line names {', '.join(header) or 'nothing'}, "
            f"and {', '.join(channels)} are wanted",
            code=Code.FILE,
        )
    return {name: header.index(name) for name in channels}


def _sample(path: Path, line: int, row: Sequence[str], places: dict[str, int]) -> list[float]:
    values = []
    for name, place in places.items():
        text = row[place] if place < len(row) else ""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RefusedError(
                f"{path.name}, line {line}: {name} is {text!r}; a number is wanted", code=Code.FILE
            )
        values.append(value)
    return values
