"""What a stanza becomes under a node's Settings."""

from pathlib import Path

import pytest

from agent import assembly
from agent.contract import sources
from agent.settings import Settings


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
