"""docs/howto/remote-control.md, done as it says, and what it says is to be seen."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.polling import until_blocking
from tests.terminal import Terminal, blocks

HOWTOS: Final = Path(__file__).parents[2] / "docs/howto"
MODELS: Final = Path(__file__).parents[2] / "agent/demo/models"
BASE: Final = "edge/v1/plant/nano-1/"
ROLLED_BACK_WITHIN_S: Final = 30.0

Message = dict[str, Any]


class Engineer:
    """Goes through the document with an eye on the terminal that stays open."""

    def __init__(self, folder: Path) -> None:
        self.terminal = Terminal(folder)
        in_front, behind = blocks(HOWTOS / "remote-control.md")
        self._in_front, self._behind = iter(in_front), iter(behind)
        self._watched = folder / "watched.txt"
        self._seen = 0

    def reads_on(self) -> str:
        """What is to be done next in the terminal to work in."""
        return next(self._in_front)

    def goes_on(self) -> str:
        """Do it; what it printed."""
        self._seen = len(self._told())
        return self.terminal.run(self.reads_on())

    def is_told(self) -> list[Message]:
        """Do it, where it prints messages, one a line."""
        return [json.loads(line) for line in self.goes_on().splitlines()]

    def sees(self, topic: str, *, within_s: float = 20.0, **fields: object) -> Message:
        """The first message since then that says that; an empty one says `cleared=True`."""
        found: list[Message] = []

        def comes() -> bool:
            found.extend(
                message
                for told, message in self._told()[self._seen :]
                if told == topic and fields.items() <= message.items()
            )
            return bool(found)

        until_blocking(comes, within_s=within_s, every_s=0.05)
        return found[0]

    def begins(self, *, shown: str = "terminal.txt") -> subprocess.Popen[bytes]:
        """Let the next one go on that does."""
        return self.terminal.begin(next(self._behind), shown=shown)

    def subscribes(self, who: str, *, shown: str = "terminal.txt") -> subprocess.Popen[bytes]:
        """The same, until the broker has said yes."""
        before = self._subscriptions(who)
        process = self.begins(shown=shown)
        until_blocking(lambda: self._subscriptions(who) > before)
        return process

    def has_come_to_the_end(self) -> bool:
        return next(self._in_front, None) is None and next(self._behind, None) is None

    def _subscriptions(self, who: str) -> int:
        return (self.terminal.folder / "broker.log").read_text().count(f"Sending SUBACK to {who}\n")

    def _told(self) -> list[tuple[str, Message]]:
        text = self._watched.read_text() if self._watched.exists() else ""
        lines = [line.partition(" ") for line in text[: text.rfind("\n") + 1].splitlines()]
        return [
            (topic.removeprefix(BASE), {"cleared": True} if payload == "(null)" else json.loads(payload))
            for topic, _, payload in lines
        ]


@pytest.fixture
def engineer(tmp_path: Path) -> Iterator[Engineer]:
    """Who has come to where the node is started; the broker runs."""
    engineer = Engineer(tmp_path)
    terminal = engineer.terminal
    (certificates, broker_files, settings, *_), (broker, *_) = blocks(HOWTOS / "first-node.md")
    try:
        terminal.run(f"{certificates}\n{broker_files}\n{engineer.reads_on()}")  # one terminal
        for model in ("parts.onnx", "vibration.onnx"):
            shutil.copy(MODELS / model, tmp_path / "media")
        terminal.run(settings)
        extra = ["log_type all", *(["user root"] if os.geteuid() == 0 else [])]
        with (tmp_path / "mosquitto.conf").open("a") as configuration:
            configuration.writelines(f"{line}\n" for line in extra)
        engineer.goes_on()  # the clients' options
        assert "line: synthetic, model parts" in engineer.goes_on()  # policy and check
        terminal.begin(broker, shown="broker.log")
        until_blocking(terminal.broker_answers)
        terminal.opening = ". ./steer.env"
        yield engineer
    finally:
        terminal.end_all()


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_remote_control_howto_works_as_written(engineer: Engineer) -> None:
    node = engineer.begins(shown="agent.log")
    engineer.subscribes("dashboard", shown="watched.txt")
    engineer.sees("state", state="online", within_s=60)
    looks_at_it(engineer)
    raises_a_threshold(engineer)
    adds_a_camera(engineer)
    breaks_a_camera(engineer)
    pushes_a_rule(engineer)
    replays_an_old_version(engineer)
    changes_a_node_that_is_away(engineer, node)
    asks_for_pong_and_picture(engineer)
    asks_why_and_patches(engineer)
    stands_before_it(engineer)
    assert engineer.has_come_to_the_end()


def looks_at_it(engineer: Engineer) -> None:
    reported = json.loads(engineer.goes_on())
    assert (reported["version"], reported["status"], reported["diverged"]) == (1, "applied", False)
    assert set(reported["sources"]) == {"line", "motor"}


def raises_a_threshold(engineer: Engineer) -> None:
    engineer.goes_on()
    engineer.sees("config/reported", version=1, status="applying")
    engineer.sees("config/reported", version=2, status="applied")
    messages = engineer.is_told()
    judged_anew = [message for message in messages if message["config_version"] == 2]
    assert judged_anew[-1:] == messages[-1:]  # those before may have been on their way
    assert all(one["confidence"] >= 0.8 for message in judged_anew for one in message["objects"])


def adds_a_camera(engineer: Engineer) -> None:
    engineer.goes_on()
    tried = engineer.sees("config/reported", version=2, status="probation")
    assert tried["sources"]["yard"] == {"version": 3, "status": "probation", "code": None}
    applied = engineer.sees("config/reported", version=3, status="applied", within_s=30)
    assert applied["sources"]["yard"] == {"version": 3, "status": "applied", "code": None}
    assert engineer.is_told()[0]["source"] == "yard"


def breaks_a_camera(engineer: Engineer) -> None:
    engineer.goes_on()
    reported = engineer.sees(
        "config/reported", version=3, status="rolled_back", within_s=ROLLED_BACK_WITHIN_S
    )
    assert reported["sources"]["yard"] == {"version": 3, "status": "rolled_back", "code": "E_FILE"}
    attempt = reported["attempts"][-1]
    assert (attempt["version"], attempt["status"], attempt["code"], attempt["path"]) == (
        *(4, "rolled_back", "E_PROBE"),
        "/policy/sources/yard",
    )
    assert attempt["message"].endswith("media/gone.mp4 is not there")
    assert engineer.is_told()[0]["source"] == "yard"


def pushes_a_rule(engineer: Engineer) -> None:
    engineer.goes_on()
    engineer.sees("config/reported", version=5, status="applied")
    event = engineer.sees("events/gears", phase="begin")["event"]
    engineer.sees("alarms/gears", event=event, message="Gears on the belt")
    assert engineer.goes_on().startswith(f"{BASE}alarms/gears {{")
    engineer.goes_on()
    engineer.sees("alarms/gears", cleared=True)
    engineer.sees("events/gears", event=event, phase="end", reason="removed")
    engineer.sees("config/reported", version=6, status="applied")


def replays_an_old_version(engineer: Engineer) -> None:
    engineer.goes_on()
    attempt = engineer.sees("config/reported", version=6, status="failed")["attempts"][-1]
    assert (attempt["version"], attempt["code"], attempt["path"]) == (2, "E_STALE", "/version")
    until_blocking(lambda: health(engineer)["status"] == "degraded")
    engineer.goes_on()
    engineer.sees("config/reported", version=6, status="applied")
    until_blocking(lambda: health(engineer)["status"] == "ok")


def changes_a_node_that_is_away(engineer: Engineer, node: subprocess.Popen[bytes]) -> None:
    assert engineer.terminal.interrupt(node) == 0
    engineer.sees("state", state="offline", reason="stopped")
    assert engineer.is_told()[0]["state"] == "offline"
    assert engineer.goes_on().strip() == '"version": 6,'
    engineer.begins(shown="agent.log")
    engineer.sees("config/reported", version=7, status="applied", within_s=60)
    assert engineer.is_told()[-1]["config_version"] == 7


def asks_for_pong_and_picture(engineer: Engineer) -> None:
    engineer.goes_on()
    assert engineer.sees("result/ping/ping-1", status="done")["output"]["config_version"] == 7
    watcher = engineer.subscribes("watcher")
    engineer.goes_on()
    result = engineer.sees("result/snapshot/see-1", status="done")
    assert watcher.wait(timeout=20) == 0
    picture = (engineer.terminal.folder / "line.jpg").read_bytes()
    assert len(picture) == result["output"]["bytes"]
    assert (picture[:3], picture[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")


def asks_why_and_patches(engineer: Engineer) -> None:
    engineer.goes_on()
    told = engineer.sees("result/explain/why-1", status="done")["output"]
    assert told["minute"]["fates"]["reported"] > 0
    engineer.goes_on()
    engineer.sees("result/patch-config/slow-1", status="done")
    engineer.sees("config/reported", version=8, status="applied", diverged=True)
    engineer.goes_on()
    engineer.sees("config/reported", version=9, status="applied", diverged=False)


def stands_before_it(engineer: Engineer) -> None:
    assert engineer.goes_on().startswith("version 9, from mqtt; the next has to be above 9\n")
    assert engineer.goes_on().strip() == "version 10: applied"
    engineer.sees("config/reported", version=10, status="applied", diverged=True)
    engineer.goes_on()
    engineer.goes_on()
    engineer.sees("config/reported", version=3, status="applied", within_s=40)


def health(engineer: Engineer) -> Message:
    told: Message = json.loads(engineer.terminal.run('mosquitto_sub -C 1 -t "$B/health"'))
    return told
