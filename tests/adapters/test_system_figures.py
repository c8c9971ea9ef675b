from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from agent.adapters.system.memory import memory_mb, peak_memory_mb
from agent.adapters.system.temperature import temperatures_c


def test_peak_memory_keeps_what_resident_memory_gave_back() -> None:
    before_mb = memory_mb()
    with mmap.mmap(-1, 64 * 1024 * 1024) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        full_mb = memory_mb()
    after_mb = memory_mb()
    assert before_mb > 5
    assert full_mb - before_mb > 50
    assert full_mb - after_mb > 50
    assert peak_memory_mb() - after_mb > 50


def test_memory_is_zero_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert memory_mb(status=tmp_path / "absent") == 0
    assert peak_memory_mb(status=tmp_path / "absent") == 0


def lay_down(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param(
            {
                "class/thermal/thermal_zone0/type": "AO-therm\n",
                "class/thermal/thermal_zone0/temp": "49500\n",
                "class/thermal/thermal_zone1/type": "CPU-therm\n",
                "class/thermal/thermal_zone1/temp": "41500\n",
                "class/thermal/thermal_zone2/type": "GPU-therm\n",
                "class/thermal/thermal_zone2/temp": "38000\n",
                "class/thermal/thermal_zone4/type": "PMIC-Die\n",
                "class/thermal/thermal_zone4/temp": "100000\n",
            },
            {"cpu": 41.5, "gpu": 38.0},
            id="Jetson Nano",
        ),
        pytest.param(
            {
                "class/thermal/thermal_zone0/type": "cpu-thermal\n",
                "class/thermal/thermal_zone0/temp": "47437\n",
                "class/thermal/thermal_zone1/type": "cv0-thermal\n",
                "class/thermal/thermal_zone1/temp": "-256000\n",
                "class/thermal/thermal_zone2/type": "gpu-thermal\n",
                "class/thermal/thermal_zone2/temp": "-256000\n",
                "class/thermal/thermal_zone3/type": "soc0-thermal\n",
                "class/thermal/thermal_zone3/temp": "46000\n",
                "class/thermal/thermal_zone4/type": "soc1-thermal\n",
                "class/thermal/thermal_zone4/temp": "48000\n",
            },
            {"board": 48.0, "cpu": 47.4},
            id="Jetson Orin with blocks powered down",
        ),
        pytest.param(
            {
                "class/thermal/thermal_zone0/type": "acpitz\n",
                "class/thermal/thermal_zone0/temp": "27800\n",
                "class/hwmon/hwmon0/name": "nvme\n",
                "class/hwmon/hwmon0/temp1_input": "33850\n",
                "class/hwmon/hwmon1/name": "k10temp\n",
                "class/hwmon/hwmon1/temp1_input": "55250\n",
                "class/hwmon/hwmon1/temp3_input": "58000\n",
                "class/hwmon/hwmon1/temp4_input": "not a number\n",
            },
            {"board": 27.8, "cpu": 58.0, "disk": 33.9},
            id="AMD desktop",
        ),
        pytest.param({}, {}, id="virtual machine"),
        pytest.param({"class/thermal/thermal_zone0/type": "cpu-thermal\n"}, {}, id="a zone without value"),
    ],
)
def test_temperatures_tell_the_highest_of_each_kind(
    tmp_path: Path, files: dict[str, str], told: dict[str, float]
) -> None:
    lay_down(tmp_path, files)
    assert temperatures_c(sys=tmp_path) == told
