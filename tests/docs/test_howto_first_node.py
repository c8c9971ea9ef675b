"""docs/howto/first-node.md, done as it says."""

import json
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from agent.contract.continuity import Continuity
from tests.polling import until_blocking
from tests.terminal import Terminal, blocks

HOWTO: Final = Path(__file__).parents[2] / "docs/howto/first-node.md"
MODELS: Final = Path(__file__).parents[2] / "agent/demo/models"


@pytest.mark.broker
@pytest.mark.testdata
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_first_node_howto_works_as_written(tmp_path: Path, testdata: Path) -> None:
    terminal = Terminal(tmp_path)
    in_front_blocks, (broker_block, subscriber_block, node_block) = blocks(HOWTO)
    in_front = iter(in_front_blocks)
    try:
        terminal.run(next(in_front))  # certificates
        shutil.copy(testdata / "clips/vtest.avi", tmp_path / "media/clip.avi")
        shutil.copy(testdata / "models/yolo11n-person.onnx", tmp_path / "media/people.onnx")
        shutil.copy(MODELS / "vibration.onnx", tmp_path / "media/vibration.onnx")
        terminal.run(next(in_front))  # broker and access list
        if os.geteuid() == 0:
            terminal.run("echo 'user root' >> mosquitto.conf")
        terminal.begin(broker_block)
        until_blocking(terminal.broker_answers)
        terminal.run(next(in_front))  # settings
        terminal.run(next(in_front))  # policy
        assert "door" in terminal.run(next(in_front))  # check
        terminal.begin(subscriber_block)
        node = terminal.begin(node_block)
        until_blocking(
            lambda: _log(tmp_path).count('"event":"source.ended"') == 2,
            within_s=150,
        )
        assert "detections/door" in terminal.run(next(in_front))  # outbox status
        assert next(in_front, None) is None
        assert terminal.interrupt(node) == 0
        produced = json.loads((tmp_path / "report.json").read_text())["messages"]
        until_blocking(lambda: _received(tmp_path).received >= produced["acknowledged"])
    finally:
        terminal.end_all()
    continuity = _received(tmp_path)
    assert continuity.missing() == {}
    assert continuity.received == produced["produced"]
    assert produced["lost"] == 0


def _log(folder: Path) -> str:
    log = folder / "agent.log"
    return log.read_text() if log.exists() else ""


def _received(folder: Path) -> Continuity:
    continuity = Continuity()
    for line in (folder / "received.txt").read_text().splitlines():
        topic, _, payload = line.partition(" ")
        try:
            message = json.loads(payload)
        except ValueError:
            continue  # the last line is still being written
        if "seq" in message:
            continuity.see(topic.split("/", 4)[4], message)
    return continuity
