"""Every kind of message that a node sends upwards, seen at a real broker and held against its schema."""

import json
from pathlib import Path

import jsonschema
import pytest

from agent.contract.schemas import wire_schemas
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess, command
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

MODELS = Path(__file__).parents[2] / "agent/demo/models"

UPWARD = {"detections", "telemetry", "loss", "state", "health", "info", "heartbeat", "log"}
"""All of the contract, but what later versions send: events, alarms, snapshots, results, config/reported."""

# A message with all readings of a second is larger than this node may send: refused, and declared lost.
POLICY = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 5, thresholds: {confidence: 0.99}}
    motor: {kind: vibration, report: all}
    machine: {kind: system, every_s: 1}
  publish: {heartbeat_s: 1, max_message_bytes: 8192}
"""


def test_every_upward_topic_arrives_as_its_schema_says(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[MODELS / "parts.onnx"],
        )
        with agent.start():
            until_blocking(
                lambda: {message.stream.split("/")[0] for message in subscriber.messages()} >= UPWARD,
                within_s=60,
            )
            assert agent.stop() == 0
        messages = agent.report().messages
        accounted = messages.acknowledged + messages.lost
        until_blocking(lambda: subscriber.continuity().received >= messages.acknowledged)
        continuity = subscriber.continuity()
        seen = subscriber.messages()

    schemas = wire_schemas()
    for message in seen:
        jsonschema.validate(message.content, schemas[message.stream.split("/")[0]])
    losses = [message.content for message in seen if message.stream == "loss"]
    assert {(loss["stream"], loss["reason"]) for loss in losses} == {("telemetry/motor", "oversize")}
    # What was refused is declared, so that the consumer's account has no gap. The last declaration, of the
    # second before the stop, may be left for the next start.
    assert continuity.missing() == {}
    assert 0 < continuity.declared_lost <= messages.lost
    assert messages.produced == accounted + messages.waiting

    listed = command("outbox", "refused", "--path", agent.outbox_file, "--json")
    assert listed.returncode == 0, listed.stderr
    refused = json.loads(listed.stdout)
    assert len(refused) == messages.lost
    assert {row["stream"] for row in refused} == {"telemetry/motor"}
