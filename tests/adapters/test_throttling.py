"""What slows a machine down, read from boards as they show themselves under /sys."""

from pathlib import Path

import pytest

from agent.adapters.throttling import Throttling, throttlers
from tests.adapters.sensors.boards import DESKTOP, JETSON_NANO, RASPBERRY_PI, write_board

CORE = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
PACKAGE = "sys/devices/system/cpu/cpu3/thermal_throttle/package_throttle_count"
ALLOWED = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_a_machine_that_tells_nothing_is_not_throttled(tmp_path: Path) -> None:
    assert Throttling(tmp_path).read() == ()
    assert throttlers(tmp_path) is None


@pytest.mark.parametrize(
    ("state", "found"), [("0", ()), ("3", ("cpu-balanced",))], ids=["cool", "at a quarter"]
)
def test_cooling_devices_that_do_less_are_told_and_fans_are_not(
    tmp_path: Path, state: str, found: tuple[str, ...]
) -> None:
    board = {**JETSON_NANO, "sys/class/thermal/cooling_device1/cur_state": state}
    assert Throttling(write_board(tmp_path, board)).read() == found


def test_a_desktops_processor_state_is_throttling_and_its_offset_is_not(tmp_path: Path) -> None:
    assert Throttling(write_board(tmp_path, DESKTOP)).read() == ("processor",)


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("0", ()),
        ("1", ()),
        ("50000", ()),
        ("2", ("capped frequency",)),
        ("e000e", ("capped frequency", "firmware", "soft temperature limit")),
        ("no number", ()),
    ],
)
def test_a_raspberry_pi_says_it_in_bits_of_this_moment(
    tmp_path: Path, flags: str, found: tuple[str, ...]
) -> None:
    assert Throttling(write_board(tmp_path, {**RASPBERRY_PI, FLAGS: flags})).read() == found


def test_counted_events_are_told_once_when_they_happen(tmp_path: Path) -> None:
    write_board(tmp_path, {CORE: "7", PACKAGE: "120"})
    throttling = Throttling(tmp_path)
    assert throttling.read() == ()

    write_board(tmp_path, {PACKAGE: "121"})

    assert throttling.read() == ("thermal events",)
    assert throttling.read() == ()


def test_a_limit_that_falls_is_heat_and_one_that_was_there_is_somebodys_choice(tmp_path: Path) -> None:
    write_board(tmp_path, {ALLOWED: "1479000"})
    throttling = Throttling(tmp_path)
    assert throttling.read() == ()

    write_board(tmp_path, {ALLOWED: "1224000"})
    assert throttling.read() == ("capped frequency",)
    assert Throttling(tmp_path).read() == ()

    write_board(tmp_path, {ALLOWED: "1479000"})
    assert throttling.read() == ()


def test_a_file_that_vanishes_or_says_nonsense_is_left_out(tmp_path: Path) -> None:
    write_board(tmp_path, {CORE: "7", ALLOWED: "1479000"})
    throttling = Throttling(tmp_path)
    write_board(tmp_path, {CORE: "", ALLOWED: "<unsupported>"})
    assert throttling.read() == ()
    (tmp_path / CORE).unlink()
    assert throttling.read() == ()
