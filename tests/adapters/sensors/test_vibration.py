"""The synthetic accelerometer: its samples, its stamps, its pace."""

import math

import numpy as np
import pytest

from agent.adapters.sensors.vibration import VibrationSensor
from agent.adapters.sensors.vibration_signal import VibrationSignal
from agent.domain.reading import Reading
from tests.fakes.clock import FakeClock
from tests.fakes.schedule import SteppedTime


class Stand:
    """A sensor at 200 Hz whose time passes only while it waits."""

    def __init__(self, rate_hz: float = 200.0) -> None:
        self.clock = FakeClock()
        self.time = SteppedTime()
        pacer = self.time.pacer(most_late_s=math.inf)
        self.sensor = VibrationSensor(
            rate_hz=rate_hz, seed=3, fault_every_s=20, fault_for_s=4, now=self.clock.now, pacer=pacer
        )
        self.sensor.open()

    def read(self) -> list[Reading]:
        waited_s = sum(self.time.waits)
        readings = self.sensor.read()
        assert readings is not None
        self.clock.advance(sum(self.time.waits) - waited_s)
        return list(readings)


def test_readings_are_the_samples_of_the_signal() -> None:
    stand = Stand()
    readings = [reading for _ in range(5) for reading in stand.read()]
    values = np.array([reading.value for reading in readings]).reshape(-1, 3)
    signal = VibrationSignal(rate_hz=200, seed=3, fault_every_s=20, fault_for_s=4)
    assert [reading.name for reading in readings[:4]] == ["x", "y", "z", "x"]
    assert {reading.unit for reading in readings} == {"g"}
    assert np.array_equal(values.astype(np.float32), signal.samples(0, 100))


@pytest.mark.parametrize("rate_hz", [200.0, 60.0, 1000.0])
def test_stamps_step_by_exactly_one_sample(rate_hz: float) -> None:
    stand = Stand(rate_hz)
    stamps = [reading.at for _ in range(20) for reading in stand.read() if reading.name == "x"]
    first = stamps[0]
    expected_ns = [round(number * 1e9 / rate_hz) for number in range(len(stamps))]
    assert [stamp.monotonic_ns - first.monotonic_ns for stamp in stamps] == expected_ns
    assert [stamp.wall_ns - first.wall_ns for stamp in stamps] == expected_ns


def test_batches_come_when_their_last_sample_is_taken() -> None:
    stand = Stand()
    for _ in range(4):
        stand.read()
    assert stand.time.waits == [0.1] * 3


def test_sensor_slower_than_ten_a_second_gives_one_sample_at_a_time() -> None:
    stand = Stand(rate_hz=2.0)
    assert [len(stand.read()) for _ in range(3)] == [3, 3, 3]
    assert stand.time.waits == [0.5, 0.5]


def test_no_sample_lacks_after_a_stall() -> None:
    stand = Stand()
    before = stand.read()
    stand.time.now_s += 30
    stand.clock.advance(30)
    after = stand.read()
    assert after[0].at.monotonic_ns - before[-1].at.monotonic_ns == 5_000_000
    assert stand.time.waits == []


def test_wall_times_follow_a_clock_that_was_stepped() -> None:
    stand = Stand()
    before = stand.read()
    stand.clock.step_wall(3600.0)
    after = stand.read()
    assert after[0].at.monotonic_ns - before[-1].at.monotonic_ns == 5_000_000
    assert after[0].at.wall_ns - before[-1].at.wall_ns == pytest.approx(3.6e12, rel=1e-3)
