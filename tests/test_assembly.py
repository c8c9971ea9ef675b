"""What a stanza becomes under a node's Settings."""

from pathlib import Path

import pytest

from agent import assembly
from agent.adapters.onnx import load_model
from agent.contract import sources
from agent.domain.errors import RefusedError
from agent.pipeline.overload import Strain
from agent.settings import Settings
from tests.adapters.sensors.boards import JETSON_NANO, write_board

VIBRATION = Path(__file__).parents[1] / "agent/demo/models/vibration.onnx"


def test_sensor_sampled_otherwise_than_its_model_wants_is_refused() -> None:
    model = load_model(name="vibration", path=VIBRATION)
    fitting = sources.VibrationSensor(kind="vibration", rate_hz=200.0)
    assert assembly.as_anomaly_model(model, source="motor", stanza=fitting) is model

    other = sources.VibrationSensor(kind="vibration", rate_hz=100.0)
    with pytest.raises(RefusedError, match="rate_hz: 200 would be right") as refused:
        assembly.as_anomaly_model(model, source="motor", stanza=other)
    assert (refused.value.code, refused.value.path) == ("E_COMPATIBILITY", "/policy/sources/motor/rate_hz")


def test_model_of_windows_is_refused_for_a_camera() -> None:
    model = load_model(name="vibration", path=VIBRATION)
    with pytest.raises(RefusedError, match="a camera wants a detector or a pose model"):
        assembly.as_detector(model, source="door")


def test_disk_that_the_system_sensor_watches_is_the_outboxs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Usage:
        percent = 12.5

    def disk_usage(path: str) -> Usage:
        asked.append(path)
        return Usage()

    monkeypatch.setattr("psutil.disk_usage", disk_usage)
    settings = Settings.model_validate(
        {"site": "plant", "node": "nano-42", "state_dir": tmp_path, "broker": {"host": "broker"}}
    )
    sensor = assembly.sensor(sources.SystemSensor(kind="system"), settings)()
    sensor.open()
    readings = sensor.read()
    sensor.close()

    assert readings is not None
    assert asked == [str(tmp_path)]
    assert [reading.value for reading in readings if reading.name == "disk_used"] == [12.5]


def test_strain_is_the_hottest_of_what_inference_heats_and_who_throttles(tmp_path: Path) -> None:
    board = {**JETSON_NANO, "sys/class/thermal/cooling_device1/cur_state": "4"}
    read = assembly.strain(write_board(tmp_path, board))
    assert read() == Strain(temperature_c=41.2, throttled=("cpu-balanced",))

    write_board(tmp_path, {"sys/class/thermal/thermal_zone1/temp": "91000"})
    assert read() == Strain(temperature_c=91.0, throttled=("cpu-balanced",))


def test_a_disk_is_no_reason_to_do_less(tmp_path: Path) -> None:
    hot_disk = {"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": "99000"}
    assert assembly.strain(write_board(tmp_path, hot_disk))() == Strain()
