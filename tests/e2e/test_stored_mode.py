"""The real command in stored mode: what nobody has stored stays on the node, also over a restart."""

import json
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess, command
from tests.polling import until_blocking
from tests.storing_consumer import StoringConsumer

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

FRAMES = 20
POLICY = f"""\
v: 1
version: 1
policy:
  models: {{parts: {{file: parts.onnx}}}}
  sources:
    line: {{kind: synthetic, model: parts, width_px: 320, height_px: 320, rate_hz: 15, frames: {FRAMES}}}
  publish: {{keep_until: stored}}
"""


def account(agent: AgentProcess) -> dict[str, int]:
    told = command("outbox", "status", "--path", agent.outbox_file, "--json")
    assert told.returncode == 0, told.stderr
    (stream,) = [one for one in json.loads(told.stdout)["streams"] if one["stream"] == "detections/line"]
    return {name: stream[name] for name in ("produced", "acknowledged", "waiting", "at_broker")}


def test_the_node_keeps_what_nobody_stored_until_somebody_has(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"
    with Mosquitto(tmp_path) as broker:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[model],
        )
        with agent:
            # Nobody subscribes; the broker has it all, which is enough to end.
            assert agent.start("--until-ended").wait(within_s=120) == 0
            first = account(agent)
            made = first["produced"]
            assert 0 < made <= FRAMES
            assert first == {"produced": made, "acknowledged": 0, "waiting": made, "at_broker": made}

            consumer = StoringConsumer(
                tmp_path / "store", authority=broker.authority, port=broker.port, base="edge/v1/plant/nano-1"
            )
            with consumer:
                agent.start("--until-ended")
                # The newest of what was there, and all that is new: the gap before it is seen.
                assert agent.wait(within_s=120) == 0
                until_blocking(lambda: list(consumer.gaps().values()) == [[(0, made - 2)]], within_s=20)
                again = account(agent)
                assert again["waiting"] == again["produced"] > made
                (key,) = consumer.gaps()
                consumer.continuity.forgo(key, 0, made - 2)  # as one that had it from elsewhere
                consumer.acknowledge()
                agent.start()
                until_blocking(lambda: account(agent)["waiting"] <= 2, within_s=60, every_s=0.2)
                assert agent.stop() == 0
    assert not [
        event for event in agent.events if event["event"] in {"keeping.ack_refused", "outbox.rows_dropped"}
    ]
