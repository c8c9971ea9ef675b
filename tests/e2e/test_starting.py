"""What an operator sends while the agent is still starting: it is heard, and harms nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.model_packages import PARTS
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(120)]

PERSON = "models/yolo11n-person.onnx"
POLICY = """\
v: 1
version: 1
policy:
  models: {{seen: {{file: {file}, rewrite: cut}}}}
  sources: {{line: {{kind: synthetic, model: seen, rate_hz: 5}}}}
"""


def agent_with(folder: Path, broker: Mosquitto, model: Path) -> AgentProcess:
    return AgentProcess(
        folder / "node",
        identity=broker.authority.issue("nano-1"),
        port=broker.port,
        policy=POLICY.format(file=model.name),
        media=[model],
    )


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)


@pytest.mark.testdata
def test_stop_while_a_graph_is_rewritten_does_not_wait_for_it(tmp_path: Path, testdata: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        agent = agent_with(tmp_path, broker, testdata / PERSON)
        with agent.start():
            until_blocking(lambda: "model.rewriting" in agent.log, within_s=30)
            assert agent.stop(within_s=10) == 0
        events = [event["event"] for event in agent.events]
        assert events[-1] == "agent.stopped_while_loading"
        # It left nothing behind that keeps the next start from working.
        with agent.start():
            until_blocking(lambda: "agent.started" in agent.log, within_s=60)
            assert agent.stop() == 0


def test_reload_that_is_asked_for_before_the_start_is_done_after_it(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        agent = agent_with(tmp_path, broker, PARTS)
        with agent.start():
            until_blocking(lambda: catches(agent.pid, signal.SIGHUP), within_s=30)
            os.kill(agent.pid, signal.SIGHUP)
            until_blocking(lambda: "policy.applied" in agent.log, within_s=60)
            assert agent.stop() == 0
        events = [event["event"] for event in agent.events]
        assert events.index("agent.started") < events.index("policy.reading_again")
