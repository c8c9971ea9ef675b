"""A model takes over while a node works on a real clip: every frame is told once, and by which model."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import onnx
import pytest

from agent.workbench.packing import pack
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.model_packages import PARTS, VIBRATION
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

FRAMES_OF_VTEST = 795

POLICY = """\
v: 1
version: {version}
policy:
  models:
    people: {{file: {people}, shape: [288, 384]}}
    vibration: {{file: {vibration}}}
  sources:
    door: {{kind: file, path: vtest.avi, pace: fast, model: people}}
    motor: {{kind: vibration, model: vibration}}
  publish: {{heartbeat_s: 1}}
"""


def said_again(model: Path, out: Path, **metadata: str) -> Path:
    """The same weights under other metadata: another file, another hash."""
    loaded = onnx.load(model)
    for entry in loaded.metadata_props:
        entry.value = metadata.pop(entry.key, entry.value)
    for key, value in metadata.items():
        loaded.metadata_props.add(key=key, value=value)
    onnx.save(loaded, out)
    return out


def pack_people(model: Path, out: Path, testdata: Path, *, version: str) -> None:
    said = {"name": "people", "version": version}
    pack(model, out=out, said=said, images=[testdata / "images"], shape=(288, 384))


class Node:
    """An agent on the clip, whose policy a test rewrites."""

    def __init__(self, folder: Path, broker: Mosquitto, media: list[Path], **policy: Any) -> None:
        self.agent = AgentProcess(
            folder,
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY.format(**policy),
            media=media,
        )
        self._policy = folder / "policy.yaml"

    def reload(self, **policy: Any) -> None:
        """Write the policy anew and tell the agent, as ExecReload does."""
        self._policy.write_text(POLICY.format(**policy))
        os.kill(self.agent.pid, signal.SIGHUP)


def models_of(subscriber: Subscriber) -> list[tuple[int, str]]:
    """Frame numbers in order, with the version of the model that made each."""
    told = [(m["frame"]["number"], m["model"]["version"]) for m in subscriber.of("detections/door")]
    return sorted(told)


@pytest.mark.testdata
def test_swap_at_full_work_loses_no_frame_and_a_bad_model_leaves_the_good_one(
    tmp_path: Path, testdata: Path
) -> None:
    person = testdata / "models/yolo11n-person.onnx"
    first = said_again(person, tmp_path / "first.onnx", version="1.0.0")
    media = [testdata / "clips/vtest.avi", first, VIBRATION]
    broker = Mosquitto(tmp_path, extra=["max_queued_messages 0"])
    with broker, Subscriber(tmp_path, broker) as subscriber:
        node = Node(
            tmp_path / "node", broker, media, version=1, people="first.onnx", vibration="vibration.onnx"
        )
        pack_people(person, node.agent.media / "second.zip", testdata, version="2.0.0")
        pack_people(person, node.agent.media / "bad", testdata, version="3.0.0")
        with (node.agent.media / "bad/model.yaml").open("a") as card:
            card.write("preprocessing: {colours: bgr, scale: 1}\n")
        with node.agent.start("--until-ended"):
            until_blocking(lambda: len(subscriber.of("detections/door")) > 50, within_s=60)
            node.reload(version=2, people="bad", vibration="vibration.onnx")
            until_blocking(
                lambda: _condition(subscriber, "model-people")["status"] == "degraded", within_s=60
            )
            refused = _condition(subscriber, "model-people")
            before = len(subscriber.of("detections/door"))
            until_blocking(lambda: len(subscriber.of("detections/door")) > before + 20, within_s=60)

            node.reload(version=3, people="second.zip", vibration="vibration.onnx")
            until_blocking(lambda: models_of(subscriber)[-1][1] == "2.0.0", within_s=60)
            until_blocking(lambda: _status(subscriber, "policy") == "ok")
            admitted = _condition(subscriber, "model-people")
            assert node.agent.wait(within_s=240) == 0
        report = node.agent.report()
        until_blocking(lambda: subscriber.continuity().received >= report.messages.produced)
        told = models_of(subscriber)
        infos = [message.content for message in subscriber.messages() if message.stream == "info"]
        last = subscriber.of("detections/door")[-1]

    # Every frame once, and the model changes once, between two frames.
    assert [number for number, _ in told] == list(range(FRAMES_OF_VTEST))
    versions = [version for _, version in told]
    assert versions == sorted(versions)
    assert min(versions.count("1.0.0"), versions.count("2.0.0")) > 70
    assert set(versions) == {"1.0.0", "2.0.0"}
    assert report.sources["door"].model_dump() == {
        "offered": FRAMES_OF_VTEST,
        "inferred": FRAMES_OF_VTEST,
        "held": 0,
        "dropped": {},
    }
    continuity = subscriber.continuity()
    assert (continuity.missing(), continuity.duplicates, continuity.declared_lost) == ({}, 0, 0)

    # What was refused is told, with where and by how much; what took over says how it was held.
    assert refused["code"] == "E_MODEL"
    assert refused["message"].startswith("version 1.0.0 (")
    assert "serves on, for the next was refused: model people is not admitted: " in refused["message"]
    assert "golden/picture-0" in refused["message"]
    assert admitted["status"] == "ok"
    assert "2 golden inputs agree" in admitted["message"]
    package = infos[-1]["models"]["people"]
    assert (package["version"], infos[-1]["config_version"]) == ("2.0.0", 3)
    assert package["sha256"] == last["model"]["sha256"]
    assert last["config_version"] == 3
    events = [event["event"] for event in node.agent.events]
    assert {"model.swap_refused", "model.swapped", "policy.applied"} <= set(events)
    assert "model.held_on_to" not in events


def _status(subscriber: Subscriber, stage: str) -> str | None:
    status: str | None = _condition(subscriber, stage)["status"]
    return status


def _condition(subscriber: Subscriber, stage: str) -> dict[str, Any]:
    told = subscriber.of("health")
    none: dict[str, Any] = {"status": None, "message": ""}
    found: dict[str, Any] = told[-1]["stages"].get(stage, none) if told else none
    return found


def test_sensor_is_opened_anew_for_a_model_and_refused_one_that_is_none_for_it(tmp_path: Path) -> None:
    other = said_again(VIBRATION, tmp_path / "other.onnx", version="2.0.0", threshold="0.9")
    wider = said_again(VIBRATION, tmp_path / "wider.onnx", version="3.0.0", hop="32", threshold="0.8")
    policy = """\
v: 1
version: {version}
policy:
  models: {{vibration: {{file: {file}}}, parts: {{file: parts.onnx}}}}
  sources:
    motor: {{kind: vibration, model: vibration, rate_hz: {rate_hz}, seed: {seed}, report_every_s: 1}}
    line: {{kind: synthetic, rate_hz: 5, model: parts, overflow: wait}}
"""
    with Mosquitto(tmp_path) as broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=policy.format(version=1, file="vibration.onnx", rate_hz=200, seed=1),
            media=[VIBRATION, PARTS, other, wider],
        )

        def reload(**values: Any) -> None:
            (tmp_path / "node/policy.yaml").write_text(policy.format(**values))
            os.kill(agent.pid, signal.SIGHUP)

        def thresholds() -> set[float]:
            return {
                score["threshold"] for told in subscriber.of("telemetry/motor") for score in told["scores"]
            }

        def in_force() -> int:
            version: int = subscriber.of("config/reported")[-1]["version"]
            return version

        with agent.start():
            until_blocking(lambda: thresholds() == {0.1011}, within_s=60)
            reload(version=2, file="other.onnx", rate_hz=200, seed=1)
            until_blocking(lambda: thresholds() == {0.1011, 0.9}, within_s=60)

            # One that cuts the signal otherwise took a restart of the agent once.
            reload(version=3, file="wider.onnx", rate_hz=200, seed=1)
            until_blocking(lambda: thresholds() == {0.1011, 0.9, 0.8}, within_s=60)
            until_blocking(lambda: in_force() == 3)

            reload(version=4, file="parts.onnx", rate_hz=200, seed=1)
            until_blocking(
                lambda: "a sensor wants" in (_condition(subscriber, "model-vibration")["message"] or ""),
                within_s=60,
            )
            refused = _condition(subscriber, "model-vibration")
            assert (refused["status"], refused["code"]) == ("degraded", "E_COMPATIBILITY")

            reload(version=5, file="wider.onnx", rate_hz=100, seed=1)
            until_blocking(
                lambda: "rate_hz: 200 would be right" in (_condition(subscriber, "policy")["message"] or ""),
                within_s=60,
            )
            assert in_force() == 3

            # What is no model takes effect too, and alone.
            reload(version=6, file="wider.onnx", rate_hz=200, seed=2)
            until_blocking(lambda: _status(subscriber, "policy") == "ok", within_s=60)
            until_blocking(lambda: in_force() == 6)
            before = len(subscriber.of("telemetry/motor"))
            until_blocking(lambda: len(subscriber.of("telemetry/motor")) > before, within_s=60)
            assert agent.stop() == 0
        assert subscriber.continuity().missing() == {}
        numbers = sorted(told["frame"]["number"] for told in subscriber.of("detections/line"))
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    opened = [event["source"] for event in agent.events if event["event"] == "source.opened"]
    assert (opened.count("motor"), opened.count("line")) == (4, 1)


def test_file_replaced_in_place_is_taken_in_by_a_reload(tmp_path: Path) -> None:
    other = said_again(PARTS, tmp_path / "other.onnx", version="2.0.0")
    policy = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources: {line: {kind: synthetic, model: parts, rate_hz: 5}}
"""
    with Mosquitto(tmp_path) as broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=policy,
            media=[PARTS],
        )
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) > 3, within_s=60)
            shutil.copy(other, agent.media / "next")
            (agent.media / "next").rename(agent.media / "parts.onnx")
            os.kill(agent.pid, signal.SIGHUP)
            until_blocking(
                lambda: subscriber.of("detections/line")[-1]["model"]["version"] == "2.0.0", within_s=60
            )
            assert agent.stop() == 0
