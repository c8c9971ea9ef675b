"""The synthetic accelerometer: batches of samples whose stamps are as regular as the samples."""

import math
from collections.abc import Callable, Sequence

from agent.adapters.pacing import Pacer, machine_now
from agent.adapters.sensors.vibration_signal import CHANNELS, UNIT, VibrationSignal
from agent.domain.reading import Reading
from agent.domain.stamp import Stamp

_BATCH_S = 0.1
_PATIENCE_S = 5.0
_WALL_STEP_NS = 500_000_000


class VibrationSensor:
    """Fulfils `ports.ReadingSource`: channels x, y, z in g, `rate_hz` samples a second, in batches of 0.1 s.

    Sample n of a source is sample n of the `VibrationSignal` with the same arguments, stamped n / rate after
    the first, to the nanosecond. What is late is caught up: no sample lacks. Where the machine's wall clock
    was stepped, the wall times of the stamps follow.
    """

    def __init__(
        self,
        *,
        rate_hz: float,
        seed: int,
        fault_every_s: float,
        fault_for_s: float,
        now: Callable[[], Stamp] = machine_now,
        pacer: Pacer | None = None,
    ) -> None:
        self._signal = VibrationSignal(
            rate_hz=rate_hz, seed=seed, fault_every_s=fault_every_s, fault_for_s=fault_for_s
        )
        self._rate_hz = rate_hz
        self._batch = max(1, round(rate_hz * _BATCH_S))
        self._now = now
        self._pacer = pacer or Pacer(most_late_s=math.inf)
        self._next = 0
        self._first: Stamp | None = None

    @property
    def patience_s(self) -> float:
        return self._batch / self._rate_hz + _PATIENCE_S

    def open(self) -> None:
        self._next = 0
        self._first = None
        self._pacer.restart()

    def read(self) -> Sequence[Reading] | None:
        """Three readings a sample, oldest first."""
        last = self._next + self._batch - 1
        if not self._pacer.wait_until(last / self._rate_hz):
            return None
        first = self._base(last)
        values = self._signal.samples(self._next, self._batch).tolist()
        readings = []
        for number, row in enumerate(values, start=self._next):
            since_ns = round(number * 1e9 / self._rate_hz)
            at = Stamp(first.wall_ns + since_ns, first.monotonic_ns + since_ns)
            readings += [
                Reading(name=name, value=value, unit=UNIT, at=at)
                for name, value in zip(CHANNELS, row, strict=True)
            ]
        self._next = last + 1
        return readings

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        self._first = None

    def _base(self, last: int) -> Stamp:
        """The stamp of sample 0, at the moment at which sample `last` is due."""
        now = self._now()
        if self._first is None:
            since_ns = round(last * 1e9 / self._rate_hz)
            self._first = Stamp(now.wall_ns - since_ns, now.monotonic_ns - since_ns)
        ahead_ns = (now.wall_ns - now.monotonic_ns) - (self._first.wall_ns - self._first.monotonic_ns)
        if abs(ahead_ns) > _WALL_STEP_NS:
            self._first = Stamp(self._first.wall_ns + ahead_ns, self._first.monotonic_ns)
        return self._first
