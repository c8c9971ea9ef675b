"""A node at work on a real clip, against a real broker: complete, gap-free, and true to the contract."""

import json
import socket
from pathlib import Path

import jsonschema
import pytest

from agent.contract.schemas import wire_schemas
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.outbox_rows import count_waiting
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

FRAMES_OF_VTEST = 795

POLICY = """\
v: 1
version: 42
issuer: test
policy:
  models:
    people: {file: yolo11n-person.onnx, shape: [192, 256]}
    vibration: {file: vibration.onnx}
  sources:
    door: {kind: file, path: vtest.avi, pace: fast, model: people}
    yard: {kind: file, path: vtest.avi, pace: fast, model: people, thresholds: {confidence: 0.5}}
    hall: {kind: file, path: vtest.avi, pace: fast, model: people, priority: 9}
    motor: {kind: vibration, model: vibration, fault_every_s: 6, fault_for_s: 2}
    machine: {kind: system, every_s: 1}
  publish: {heartbeat_s: 1}
"""

VIBRATION_MODEL = Path(__file__).parents[2] / "agent/demo/models/vibration.onnx"


@pytest.fixture
def broker(tmp_path: Path) -> Mosquitto:
    return Mosquitto(tmp_path, extra=["max_queued_messages 0"])


@pytest.mark.testdata
def test_three_cameras_and_two_sensors_arrive_complete_and_gap_free(
    tmp_path: Path, testdata: Path, broker: Mosquitto
) -> None:
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[testdata / "clips/vtest.avi", testdata / "models/yolo11n-person.onnx", VIBRATION_MODEL],
        )
        with agent:
            assert agent.start("--until-ended").wait(within_s=240) == 0
        report = agent.report()
        until_blocking(lambda: subscriber.continuity().received >= report.messages.produced)
        streams = subscriber.by_stream()
        continuity = subscriber.continuity()
        messages = subscriber.messages()

    for camera in ("door", "yard", "hall"):
        of_camera = streams[f"detections/{camera}"]
        assert sorted(m["frame"]["number"] for m in of_camera) == list(range(FRAMES_OF_VTEST))
        seqs = sorted(message["seq"] for message in of_camera)
        assert seqs == list(range(seqs[0], seqs[0] + FRAMES_OF_VTEST))
        assert report.sources[camera].model_dump() == {
            "offered": FRAMES_OF_VTEST,
            "inferred": FRAMES_OF_VTEST,
            "held": 0,
            "dropped": {},
        }
    assert continuity.missing() == {}
    assert continuity.duplicates == 0
    assert continuity.declared_lost == 0
    assert continuity.received == report.messages.produced == report.messages.acknowledged

    people = [len(message["objects"]) for message in streams["detections/door"]]
    assert sum(people) > 100
    strict = [found for message in streams["detections/yard"] for found in message["objects"]]
    assert strict
    assert min(found["confidence"] for found in strict) >= 0.5
    scores = [score for message in streams["telemetry/motor"] for score in message["scores"]]
    assert scores
    machine = [reading for message in streams["telemetry/machine"] for reading in message["readings"]]
    assert {"load_1min", "memory_used", "disk_used"} <= {reading["name"] for reading in machine}

    schemas = wire_schemas()
    kinds = {message.stream.split("/")[0] for message in messages}
    assert kinds >= {"detections", "telemetry", "state", "health", "info", "heartbeat"}
    for message in messages:
        jsonschema.validate(message.content, schemas[message.stream.split("/")[0]])
    # The stages are in the order of the day: birth ends with the state, and the farewell says why.
    states = [message.content for message in messages if message.stream == "state"]
    assert [(state["state"], state["reason"]) for state in states] == [
        ("online", None),
        ("offline", "stopped"),
    ]
    first_row = next(place for place, message in enumerate(messages) if "seq" in message.content)
    assert first_row > next(place for place, message in enumerate(messages) if message.stream == "state")

    stages = {"queue", "preprocess", "inference", "postprocess", "outbox", "publish", "ack", "capture_to_ack"}
    assert stages <= set(report.latency_ms)
    assert {event["level"] for event in agent.events} <= {"info", "warning"}


def ask(path: Path, request: str) -> tuple[int, str]:
    """GET over the node's Unix socket: status and body."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(path))
        link.sendall(f"GET {request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65_536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_camera_that_is_absent_comes_later_and_harms_nobody(tmp_path: Path, broker: Mosquitto) -> None:
    import cv2
    import numpy as np

    policy = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    late: {kind: file, path: late.avi, pace: fast, model: parts}
    line: {kind: synthetic, model: parts, rate_hz: 5}
"""
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=policy,
            media=[VIBRATION_MODEL.with_name("parts.onnx")],
        )
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) >= 5, within_s=30)
            absent = subscriber.of("health")[-1]
            assert absent["status"] == "degraded"
            assert absent["sources"]["late"]["status"] in {"waiting", "failed"}
            assert absent["sources"]["late"]["code"] == "E_FILE"
            assert absent["sources"]["line"]["status"] == "ok"
            status, body = ask(agent.http_socket, "/healthz")
            assert (status, json.loads(body)["stalled"]) == (200, [])
            _, metrics = ask(agent.http_socket, "/metrics")
            assert 'nanofleet_source_restarts_total{code="E_FILE",source="late"}' in metrics

            writer = cv2.VideoWriter(
                str(tmp_path / "late.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240)
            )
            for shade in range(30):
                writer.write(np.full((240, 320, 3), shade * 8, np.uint8))
            writer.release()
            (tmp_path / "late.avi").rename(agent.media / "late.avi")

            until_blocking(lambda: len(subscriber.of("detections/late")) == 30, within_s=60)
            until_blocking(lambda: subscriber.of("health")[-1]["sources"]["late"]["status"] == "ok")
            assert agent.stop() == 0
        assert subscriber.continuity().missing() == {}


def test_stop_is_ordered_within_ten_seconds_though_the_broker_is_gone(
    tmp_path: Path, broker: Mosquitto
) -> None:
    policy = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 20}
    loop: {kind: synthetic, model: parts, rate_hz: 20, overflow: wait}
"""
    with broker:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=policy,
            media=[VIBRATION_MODEL.with_name("parts.onnx")],
        )
        with agent.start():
            until_blocking(lambda: "link.connected" in agent.log, within_s=30)
            broker.kill()
            until_blocking(lambda: "link.attempt_failed" in agent.log, within_s=30)
            until_blocking(lambda: count_waiting(agent.outbox_file) > 10, within_s=30)
            assert agent.stop(within_s=10) == 0
    report = agent.report()
    messages = report.messages
    assert messages.waiting > 0
    assert messages.produced == messages.acknowledged + messages.waiting + messages.lost
    for flow in report.sources.values():
        assert flow.offered == flow.inferred + flow.held + sum(flow.dropped.values())
    assert not any(event["event"] == "stop.deadline_missed" for event in agent.events)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("v: 1\nversion: 1\npolicy: {sources: {door: {kind: file, path: /etc/passwd}}}", "media_root"),
        ("v: 1\nversion: 1\npolicy: {models: {m: {file: none.onnx}}}", "none.onnx"),
        ("v: 1\nversion: 1\npolicy: {sorces: {}}", "sorces"),
    ],
)
def test_wrong_policy_is_told_and_left_with_78(
    tmp_path: Path, broker: Mosquitto, policy: str, said: str
) -> None:
    agent = AgentProcess(
        tmp_path / "node", identity=broker.authority.issue("nano-1"), port=broker.port, policy=policy
    )
    with agent:
        assert agent.start().wait(within_s=30) == 78
    assert said in agent.log
