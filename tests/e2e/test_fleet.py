"""An operator's commands and a real agent: a rollout that passes, policies that come and go, and the end."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess, command
from tests.fleet.simulated import settings_of
from tests.model_packages import PARTS
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

NODE = "plant/nano-1"
POLICY = """\
v: 1
version: 3
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 5}
    machine: {kind: system, every_s: 1}
  publish: {heartbeat_s: 1}
"""
GATE = (
    *("--fresh-detection", "--health", "ok", "--max-error-rate", "0.01", "--max-temperature", "110"),
    *("--steady", "3", "--timeout", "90"),
)


def test_a_node_through_its_life(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        settings = settings_of(tmp_path, broker)

        def fleet(word: str, *words: str | Path, code: int = 0) -> dict[str, Any]:
            done = command("fleet", word, "--settings", settings, *words, "--json", timeout_s=100)
            assert done.returncode == code, done.stdout + done.stderr
            content: dict[str, Any] = json.loads(done.stdout)
            return content

        def policy(name: str, text: str) -> str:
            (tmp_path / name).write_text(text)
            return f"{NODE}={tmp_path / name}"

        def policy_stage() -> dict[str, Any]:
            stage: dict[str, Any] = fleet("get", NODE)["nodes"][NODE]["health"]["stages"]["policy"]
            return stage

        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[PARTS],
        )
        with agent:
            before = tmp_path / "before.json"
            before.write_text(json.dumps(fleet("get", NODE)))
            agent.start()
            assert fleet("wait-for", NODE, "--newer-than", before, "--policy-version", "3", *GATE)["met"]

            # An update: the same node in a new process.
            before.write_text(json.dumps(fleet("get", NODE)))
            told = fleet("wait-for", NODE, "--newer-than", before, "--timeout", "2", code=1)
            assert told["nodes"][NODE]["conditions"]["session"]["seen"] == 1
            agent.stop()
            agent.start()
            told = fleet("wait-for", NODE, "--newer-than", before, *GATE)
            assert told["nodes"][NODE]["conditions"]["session"]["seen"] == 2
            assert fleet("get", NODE, "--heartbeat")["nodes"][NODE]["heartbeat"]["session"] == 2

            # Policies: in force, another, one that cannot be had.
            was = policy("was.yaml", POLICY)
            faster = policy(
                "faster.yaml", POLICY.replace("version: 3", "version: 4").replace("rate_hz: 5", "rate_hz: 8")
            )
            broken = policy(
                "broken.yaml", POLICY.replace("version: 3", "version: 5").replace("parts.onnx", "nix.onnx")
            )
            assert not fleet("drift", was)["drift"]
            assert fleet("set-policy", faster)["nodes"][NODE]["changed"] is True
            assert fleet("set-policy", faster)["nodes"][NODE]["changed"] is False
            fleet("wait-for", NODE, "--policy-version", "4", "--fresh-detection")
            failed = fleet("set-policy", broken, code=1)["nodes"][NODE]
            assert (failed["status"], failed["code"]) == ("failed", "E_FILE")

            # What failed is what the broker holds for it still, until what is in force is sent again.
            left = fleet("drift", faster, code=1)["nodes"][NODE]
            assert (left["other_desired"], left["differences"], left["refusal"]) == (True, [], None)
            assert policy_stage()["code"] == "E_FILE"
            assert fleet("set-policy", faster)["applied"]
            assert not fleet("drift", faster)["drift"]
            until_blocking(lambda: policy_stage()["status"] == "ok")
            stale = fleet("set-policy", was, code=1)["nodes"][NODE]
            assert (stale["status"], stale["code"]) == ("refused", "E_STALE")
            assert policy_stage()["status"] == "ok"
            drifted = fleet("drift", was, code=1)["nodes"][NODE]
            assert drifted["differences"] == [
                {"path": "/sources/line/rate_hz", "wanted": 5.0, "reported": 8.0}
            ]

            # It is taken away.
            assert "online" in fleet("forget", NODE, code=1)["nodes"][NODE]["message"]
            agent.stop()
            assert fleet("forget", NODE)["forgotten"]
            assert fleet("get", "plant/*")["nodes"] == {}
