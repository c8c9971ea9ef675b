"""docs/howto/first-node.md, done as it says."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from agent.contract.continuity import Continuity
from tests.brokers import free_port
from tests.polling import until_blocking

HOWTO: Final = Path(__file__).parents[2] / "docs/howto/first-node.md"
MODELS: Final = Path(__file__).parents[2] / "agent/demo/models"


def blocks() -> list[tuple[str, bool]]:
    """The document's commands in their order, and whether each goes on in the background."""
    found = re.findall(r"^```sh( background)?\n(.*?)^```", HOWTO.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(text, bool(background)) for background, text in found]


class Terminal:
    """A folder, an environment, and what runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._behind: list[subprocess.Popen[bytes]] = []
        path = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
        self._environment = {**os.environ, "PATH": os.pathsep.join(path), "PORT": str(self.port)}

    def run(self, commands: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, commands: str) -> None:
        self._behind.append(
            subprocess.Popen(
                ["sh", "-c", f"exec {commands}"],
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
            )
        )

    def end_newest(self) -> int:
        """Ctrl-C in the terminal that was opened last."""
        newest = self._behind.pop()
        os.killpg(newest.pid, signal.SIGINT)
        return newest.wait(timeout=20)

    def end_all(self) -> None:
        for process in self._behind:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)


@pytest.mark.broker
@pytest.mark.testdata
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_first_node_howto_works_as_written(tmp_path: Path, testdata: Path) -> None:
    terminal = Terminal(tmp_path)
    broker_block, subscriber_block, node_block = [text for text, background in blocks() if background]
    in_front = iter([text for text, background in blocks() if not background])
    try:
        terminal.run(next(in_front))  # certificates
        shutil.copy(testdata / "clips/vtest.avi", tmp_path / "media/clip.avi")
        shutil.copy(testdata / "models/yolo11n-person.onnx", tmp_path / "media/people.onnx")
        shutil.copy(MODELS / "vibration.onnx", tmp_path / "media/vibration.onnx")
        terminal.run(next(in_front))  # broker and access list
        if os.geteuid() == 0:
            terminal.run("echo 'user root' >> mosquitto.conf")
        terminal.begin(broker_block)
        until_blocking(lambda: _answers(terminal.port))
        terminal.run(next(in_front))  # settings
        terminal.run(next(in_front))  # policy
        assert "door" in terminal.run(next(in_front))  # check
        terminal.begin(subscriber_block)
        terminal.begin(node_block)
        until_blocking(
            lambda: _log(tmp_path).count('"event":"source.ended"') == 2,
            within_s=150,
        )
        assert "detections/door" in terminal.run(next(in_front))  # outbox status
        assert next(in_front, None) is None
        assert terminal.end_newest() == 0
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


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
