"""A real node with a second model beside the first: what an operator sees of it."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.contract.schemas import wire_schemas
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

MODEL = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"
POLICY = """\
v: 1
version: 1
policy:
  models:
    parts: {file: parts.onnx}
    next: {file: parts.onnx, thresholds: {confidence: 0.5}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 3, shadow: {model: next, fps: 3}}
  publish: {heartbeat_s: 1}
"""


def test_the_heartbeat_tells_how_far_two_models_agree(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with broker, Subscriber(tmp_path, broker) as subscriber:

        def told() -> dict[str, Any]:
            beats = subscriber.of("heartbeat")
            shadow: dict[str, Any] = beats[-1]["shadow"]["line"] if beats else {}
            return shadow

        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[MODEL],
        )
        with agent.start():
            until_blocking(lambda: told().get("frames", 0) >= 3, within_s=90)
            shadow = told()
            assert agent.stop() == 0
        beat = subscriber.of("heartbeat")[-1]
        detections = subscriber.of("detections/line")
    jsonschema.validate(beat, wire_schemas()["heartbeat"])
    assert (shadow["model"], shadow["status"], shadow["failed"]) == ("next", "on", 0)
    assert (shadow["agreement"], shadow["recall"], shadow["iou"]) == (1.0, 1.0, 1.0)
    assert (shadow["confidence_difference"], shadow["classes_differ"]) == (0.0, 0)
    assert shadow["latency_ms"]["p50"] > 0
    assert shadow["memory_mb"] == shadow["primary_memory_mb"] > 0
    assert {message["model"]["name"] for message in detections} == {"parts"}
    assert [event for event in agent.events if event["level"] in {"warning", "error"}] == []


def test_a_shadow_that_is_no_model_is_told_on_health_and_the_camera_is_served(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"no model")
    broker = Mosquitto(tmp_path)
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY.replace("next: {file: parts.onnx", "next: {file: junk.onnx"),
            media=[MODEL, tmp_path / "junk.onnx"],
        )
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) >= 3, within_s=90)
            until_blocking(lambda: "shadow-line" in subscriber.of("health")[-1]["stages"])
            assert agent.stop() == 0
        told = next(
            each["stages"]["shadow-line"]
            for each in subscriber.of("health")
            if "shadow-line" in each["stages"]
        )
    assert (told["status"], told["code"]) == ("degraded", "E_MODEL")
    assert [event["code"] for event in agent.events if event["event"] == "shadow.not_loaded"] == ["E_MODEL"]
