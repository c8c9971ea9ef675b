"""Boards as they show themselves under /sys, written into a folder of a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

JETSON_NANO: Final[Mapping[str, str]] = {
    "sys/class/thermal/thermal_zone0/type": "AO-therm",
    "sys/class/thermal/thermal_zone0/temp": "48500",
    "sys/class/thermal/thermal_zone1/type": "CPU-therm",
    "sys/class/thermal/thermal_zone1/temp": "41250",
    "sys/class/thermal/thermal_zone2/type": "GPU-therm",
    "sys/class/thermal/thermal_zone2/temp": "39000",
    "sys/class/thermal/thermal_zone3/type": "PLL-therm",
    "sys/class/thermal/thermal_zone3/temp": "-256000",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die",
    "sys/class/thermal/thermal_zone4/temp": "100000",
    "sys/class/thermal/thermal_zone5/type": "thermal-fan-est",
    "sys/class/thermal/thermal_zone5/temp": "40250",
    "sys/class/thermal/cooling_device0/type": "gpu-balanced",
    "sys/class/thermal/cooling_device0/cur_state": "0",
    "sys/class/thermal/cooling_device0/max_state": "11",
    "sys/class/thermal/cooling_device1/type": "cpu-balanced",
    "sys/class/thermal/cooling_device1/cur_state": "0",
    "sys/class/thermal/cooling_device1/max_state": "24",
    "sys/class/thermal/cooling_device2/type": "pwm-fan",
    "sys/class/thermal/cooling_device2/cur_state": "1",
    "sys/class/thermal/cooling_device2/max_state": "4",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1224000",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1479000",
}

RASPBERRY_PI: Final[Mapping[str, str]] = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "55017",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon0/temp1_input": "56478",
    "sys/class/hwmon/hwmon1/name": "rpi_volt",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
}

DESKTOP: Final[Mapping[str, str]] = {
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": "52000",
    "sys/class/hwmon/hwmon0/temp2_input": "61000",
    "sys/class/hwmon/hwmon1/name": "nvme",
    "sys/class/hwmon/hwmon1/temp1_input": "38850",
    "sys/class/thermal/cooling_device0/type": "Processor",
    "sys/class/thermal/cooling_device0/cur_state": "0",
    "sys/class/thermal/cooling_device0/max_state": "10",
    "sys/class/thermal/cooling_device1/type": "Processor",
    "sys/class/thermal/cooling_device1/cur_state": "3",
    "sys/class/thermal/cooling_device1/max_state": "10",
    "sys/class/thermal/cooling_device2/type": "intel_powerclamp",
    "sys/class/thermal/cooling_device2/cur_state": "-1",
    "sys/class/thermal/cooling_device2/max_state": "50",
    "sys/class/thermal/cooling_device3/type": "TCC Offset",
    "sys/class/thermal/cooling_device3/cur_state": "5",
    "sys/class/thermal/cooling_device3/max_state": "63",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "800000",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "4200000",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_cur_freq": "3150000",
    "sys/devices/system/cpu/cpufreq/policy1/cpuinfo_max_freq": "4200000",
}


def write_board(root: Path, board: Mapping[str, str]) -> Path:
    """Write a board's files below `root`."""
    for name, content in board.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root
