"""The machine as a sensor, on boards of several kinds."""

from pathlib import Path

import pytest

from agent.adapters.sensors.system import SystemSensor
from agent.domain.reading import Reading
from tests.adapters.sensors.boards import DESKTOP, JETSON_NANO, RASPBERRY_PI, write_board
from tests.fakes.clock import FakeClock
from tests.fakes.schedule import SteppedTime


def read(root: Path) -> dict[str, Reading]:
    sensor = SystemSensor(every_s=5, root=root)
    sensor.open()
    readings = sensor.read()
    sensor.close()
    assert readings is not None
    assert len({reading.name for reading in readings}) == len(readings)
    return {reading.name: reading for reading in readings}


def values(root: Path, prefixes: tuple[str, ...]) -> dict[str, float]:
    return {name: reading.value for name, reading in read(root).items() if name.startswith(prefixes)}


BOARD = ("temperature_", "cooling_", "cpu_frequency", "throttled", "undervoltage")


def test_jetson_nano_tells_what_it_knows_but_not_its_bogus_zones(tmp_path: Path) -> None:
    assert values(write_board(tmp_path, JETSON_NANO), BOARD) == {
        "temperature_ao": 48.5,
        "temperature_cpu": 41.2,
        "temperature_gpu": 39.0,
        "temperature_thermal_fan_est": 40.2,
        "cooling_gpu_balanced": 0.0,
        "cooling_cpu_balanced": 0.0,
        "cooling_pwm_fan": 25.0,
        "cpu_frequency": 1224.0,
        "cpu_frequency_share": 82.8,
        "throttled": 0.0,
    }


def test_jetson_nano_that_is_too_hot_is_throttled(tmp_path: Path) -> None:
    hot = {**JETSON_NANO, "sys/class/thermal/cooling_device1/cur_state": "6"}
    found = values(write_board(tmp_path, hot), BOARD)
    assert (found["throttled"], found["cooling_cpu_balanced"]) == (1.0, 25.0)


@pytest.mark.parametrize(
    ("flags", "throttled", "undervoltage"),
    [("0", 0.0, 0.0), ("50000", 0.0, 0.0), ("50005", 1.0, 1.0), ("8", 1.0, 0.0), ("1", 0.0, 1.0)],
)
def test_raspberry_pi_tells_of_heat_and_of_its_supply(
    tmp_path: Path, flags: str, throttled: float, undervoltage: float
) -> None:
    board = {**RASPBERRY_PI, "sys/devices/platform/soc/soc:firmware/get_throttled": flags}
    found = values(write_board(tmp_path, board), BOARD)
    assert found == {"temperature_cpu": 56.5, "throttled": throttled, "undervoltage": undervoltage}


def test_desktop_tells_the_hottest_of_each_chip_and_its_fastest_core(tmp_path: Path) -> None:
    assert values(write_board(tmp_path, DESKTOP), BOARD) == {
        "temperature_coretemp": 61.0,
        "temperature_nvme": 38.9,
        "cooling_processor": 30.0,
        "cooling_tcc_offset": 7.9,
        "cpu_frequency": 3150.0,
        "cpu_frequency_share": 75.0,
        "throttled": 1.0,
    }


def test_machine_that_tells_nothing_of_its_board_still_has_the_rest(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.keys() <= {"load_1min", "cpu_used", "memory_used", "disk_used"}
    assert {"load_1min", "memory_used", "disk_used"} <= found.keys()
    assert 0 < found["memory_used"].value < 100
    assert 0 < found["disk_used"].value < 100
    assert {reading.unit for name, reading in found.items() if name.endswith("_used")} == {"%"}


def test_unreadable_values_are_left_out(tmp_path: Path) -> None:
    broken = {
        "sys/class/thermal/thermal_zone0/type": "CPU-therm",
        "sys/class/thermal/thermal_zone0/temp": "",
        "sys/class/thermal/thermal_zone1/temp": "40000",
        "sys/class/thermal/cooling_device0/type": "cpu-balanced",
        "sys/class/thermal/cooling_device0/cur_state": "?",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "no number",
    }
    assert values(write_board(tmp_path, broken), BOARD) == {}


def test_use_of_the_cores_is_told_from_the_second_time_on() -> None:
    sensor = SystemSensor(every_s=0.3)
    sensor.open()
    sets = [sensor.read() for _ in range(2)]
    sensor.close()
    (used,) = [reading.value for reading in sets[1] or () if reading.name == "cpu_used"]
    assert 0 <= used <= 100


def test_readings_come_at_once_and_then_every_so_often_with_one_stamp_each(tmp_path: Path) -> None:
    time, clock = SteppedTime(), FakeClock()
    sensor = SystemSensor(every_s=5, root=tmp_path, now=clock.now, pacer=time.pacer())
    sensor.open()
    sets = []
    for _ in range(3):
        sets.append(sensor.read() or ())
        clock.advance(5)
    sensor.close()
    assert time.waits == [5.0, 5.0]
    stamps = [{reading.at.monotonic_ns for reading in readings} for readings in sets]
    assert [len(each) for each in stamps] == [1, 1, 1]
    assert min(stamps[1]) - min(stamps[0]) == 5_000_000_000
