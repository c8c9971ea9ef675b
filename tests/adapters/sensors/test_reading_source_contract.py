"""What `ports.ReadingSource` promises, kept by every kind of sensor."""

import math
import threading
from collections.abc import Callable

import pytest

from agent.adapters.sensors.system import SystemSensor
from agent.adapters.sensors.vibration import VibrationSensor
from agent.ports import ReadingSource
from tests.polling import until_blocking


def vibration(rate_hz: float) -> ReadingSource:
    return VibrationSensor(rate_hz=rate_hz, seed=1, fault_every_s=20, fault_for_s=4)


QUICK: dict[str, Callable[[], ReadingSource]] = {
    "system": lambda: SystemSensor(every_s=0.01),
    "vibration": lambda: vibration(500),
}
SLOW: dict[str, Callable[[], ReadingSource]] = {
    "system": lambda: SystemSensor(every_s=3600),
    "vibration": lambda: vibration(0.001),
}


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
def test_readings_are_finite_named_and_in_the_order_of_time(make: Callable[[], ReadingSource]) -> None:
    sensor = make()
    sensor.open()
    readings = [reading for _ in range(3) for reading in sensor.read() or ()]
    sensor.close()
    assert readings
    assert all(math.isfinite(reading.value) and reading.name for reading in readings)
    stamps = [reading.at.monotonic_ns for reading in readings]
    assert stamps == sorted(stamps)
    assert sensor.patience_s > 0


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
def test_sensor_opened_again_gives_readings_again(make: Callable[[], ReadingSource]) -> None:
    sensor = make()
    for _ in range(2):
        sensor.open()
        assert sensor.read()
        sensor.close()
    sensor.close()


@pytest.mark.parametrize("make", SLOW.values(), ids=SLOW)
def test_interrupt_ends_a_read_that_waits(make: Callable[[], ReadingSource]) -> None:
    sensor = make()
    sensor.open()
    assert sensor.read()
    came: list[object] = []
    thread = threading.Thread(target=lambda: came.append(sensor.read()), daemon=True)
    thread.start()
    sensor.interrupt()
    until_blocking(lambda: bool(came))
    thread.join(10)
    sensor.close()
    assert came == [None]
