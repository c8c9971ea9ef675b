"""The vibration of a rotating machine on three axes, with faults at known times.

Every sample is a pure function of `(seed, index)`: the same samples come however they are cut into blocks,
and whoever reads a score can ask whether the machine was faulty then.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

CHANNELS = ("x", "y", "z")
UNIT = "g"

_SHAFT_HZ = 24.5  # 1,470 revolutions a minute: a four-pole motor on 50 Hz under load
# Amplitude in g of the shaft's harmonics, a row each of 1x, 2x, 3x: radial x, radial y, axial z.
_HARMONICS_G = np.array([(0.150, 0.130, 0.030), (0.060, 0.075, 0.050), (0.030, 0.025, 0.015)])
_GRAVITY_G = np.array((0.0, 0.0, 1.0))
_NOISE_G = np.array((0.020, 0.020, 0.016))
_LOAD_SHARE, _LOAD_PERIOD_S = 0.15, 47.0
_SPEED_SHARE, _SPEED_PERIOD_S = 0.004, 31.0
_IMBALANCE_G = np.array((0.26, 0.24, 0.02))
# An outer race with nine balls is struck about 3.58 times a revolution; each blow rings and dies away.
_BLOWS_PER_TURN, _BLOW_G = 3.58, np.array((0.55, 0.40, 0.30))
_RING_HZ, _RING_DECAY_S = 68.0, 0.009
_QUARTER = np.array((0.0, np.pi / 2, np.pi / 4))


class Fault(StrEnum):
    """What is wrong with the machine."""

    BEARING = "bearing"
    IMBALANCE = "imbalance"


@dataclass(frozen=True, slots=True, kw_only=True)
class VibrationSignal:
    """Samples of three channels `x, y, z` in g, `rate_hz` a second, index 0 first.

    Each period of `fault_every_s` ends with `fault_for_s` of fault, bearing and imbalance in turns; with
    `fault_for_s` 0 the machine is always sound. Below 150 Hz the upper harmonics alias, as in a real sensor.

    Raises:
        ValueError: the rate is not positive, or a fault does not fit into its period.
    """

    rate_hz: float
    seed: int
    fault_every_s: float
    fault_for_s: float

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz is {self.rate_hz}: it must be above 0")
        if not 0 <= self.fault_for_s < self.fault_every_s:
            raise ValueError(
                f"fault_for_s is {self.fault_for_s}: it must be at least 0 and below"
                f" fault_every_s, {self.fault_every_s}"
            )

    def samples(self, first: int, count: int) -> NDArray[np.float32]:
        """float32 `[count, 3]` from sample `first` (0 or later) on."""
        index = np.arange(first, first + count, dtype=np.int64)
        time_s = index / self.rate_hz
        phases = _uniform(np.arange(8), self.seed) * 2 * np.pi
        load = 1 + _LOAD_SHARE * np.sin(2 * np.pi * time_s / _LOAD_PERIOD_S + phases[0])
        turns = self._turns(time_s, phases[1])
        signal = _GRAVITY_G + _NOISE_G * _gaussian(index, self.seed)
        for order, amplitude in enumerate(_HARMONICS_G, start=1):
            # The two radial axes see the same motion a quarter turn apart.
            angle = 2 * np.pi * order * turns[:, None] + phases[1 + order] + _QUARTER
            signal += amplitude * load[:, None] * np.sin(angle)
        episode, faulty = self._episodes(time_s)
        bearing, imbalance = faulty & (episode % 2 == 0), faulty & (episode % 2 == 1)
        heavy = np.sin(2 * np.pi * turns[:, None] + phases[2] + _QUARTER) * _IMBALANCE_G
        signal += np.where(imbalance[:, None], heavy, 0.0)
        since_blow_s = (turns * _BLOWS_PER_TURN % 1) / (_SHAFT_HZ * _BLOWS_PER_TURN)
        ring = np.exp(-since_blow_s / _RING_DECAY_S) * np.sin(2 * np.pi * _RING_HZ * since_blow_s)
        signal += np.where(bearing[:, None], ring[:, None] * load[:, None] * _BLOW_G, 0.0)
        return signal.astype(np.float32)

    def fault_at(self, index: int) -> Fault | None:
        """What is wrong when sample `index` is taken."""
        episode, faulty = self._episodes(np.array([index / self.rate_hz]))
        if not faulty[0]:
            return None
        return Fault.BEARING if episode[0] % 2 == 0 else Fault.IMBALANCE

    def is_faulty(self, index: int) -> bool:
        """Whether anything is wrong when sample `index` is taken."""
        return self.fault_at(index) is not None

    def _episodes(self, time_s: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For each time the period it lies in, counted from 0, and whether that period's fault has begun."""
        episode = np.floor(time_s / self.fault_every_s).astype(np.int64)
        into_s = time_s - episode * self.fault_every_s
        return episode, into_s >= self.fault_every_s - self.fault_for_s

    def _turns(self, time_s: NDArray[np.float64], phase: float) -> NDArray[np.float64]:
        """Revolutions since sample 0 of a shaft whose speed drifts slowly: the integral of the speed."""
        pace = 2 * np.pi / _SPEED_PERIOD_S
        drift = _SPEED_SHARE / pace * (np.cos(phase) - np.cos(pace * time_s + phase))
        return np.asarray(_SHAFT_HZ * (time_s + drift))


def _hash(index: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """64 well-mixed bits for each index.

    Source: splitmix64, Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
    """
    with np.errstate(over="ignore"):
        z = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def _uniform(index: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number in 0..1 for each index; another stream than the noise of the same seed."""
    return np.asarray(_hash(index, _key(seed) ^ 0x5DEECE66D) / 2.0**64)


def _gaussian(index: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """`[len(index), 3]` of mean 0 and variance 1: four uniform 16-bit numbers added, near normal."""
    bits = _hash(index[:, None] * 3 + np.arange(3), _key(seed))
    quarters = [(bits >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    total = sum(quarter.astype(np.float64) for quarter in quarters)
    return np.asarray((total / 65535.0 - 2.0) * np.sqrt(3.0))


def _key(seed: int) -> int:
    """Neighbouring seeds would otherwise give the same noise, shifted by a few samples."""
    return int(_hash(np.array([seed], np.int64), 0x2545F4914F6CDD1D)[0])
