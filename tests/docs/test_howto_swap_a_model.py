"""docs/howto/swap-a-model.md: both ways to tell a node, with the commands as they stand there."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.brokers import PUBLISHER, Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.model_packages import PARTS, package_of
from tests.polling import until_blocking
from tests.programs import find_program

HOWTO: Final = Path(__file__).parents[2] / "docs/howto/swap-a-model.md"

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]


def command(first_word: str) -> str:
    """The one command of the document that begins so."""
    (found,) = re.findall(rf"^    ({first_word} .*)$", HOWTO.read_text(), flags=re.MULTILINE)
    assert isinstance(found, str)
    return found


def document(version: int, file: str) -> dict[str, Any]:
    policy = {
        "models": {"parts": {"file": file}},
        "sources": {"line": {"kind": "synthetic", "model": "parts", "rate_hz": 5}},
    }
    return {"v": 1, "version": version, "issuer": "me", "policy": policy}


def test_model_is_swapped_as_written_from_the_file_and_from_the_broker(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=yaml.safe_dump(document(1, "parts.onnx")),
            media=[PARTS],
        )
        for version in ("2.0.0", "3.0.0"):
            package_of(PARTS, agent.media / f"{version}.zip", version=version)

        def serving() -> str | None:
            told = subscriber.of("detections/line")[-1:]
            return told[0]["model"]["version"] if told else None

        with agent.start():
            until_blocking(lambda: serving() is not None, within_s=60)

            (tmp_path / "node/policy.yaml").write_text(yaml.safe_dump(document(2, "2.0.0.zip")))
            by_hand = command("kill").replace("$(pidof nanofleet)", str(agent.pid))
            subprocess.run(["sh", "-c", by_hand], check=True, timeout=10)
            until_blocking(lambda: serving() == "2.0.0", within_s=60)

            (tmp_path / "desired.json").write_text(json.dumps(document(3, "3.0.0.zip")))
            program, *words = shlex.split(command("mosquitto_pub"))
            found = find_program(program)
            assert found is not None
            identity = broker.client_arguments(broker.authority.issue(PUBLISHER))
            subprocess.run([found, *identity, *words], cwd=tmp_path, check=True, timeout=20)
            until_blocking(lambda: serving() == "3.0.0", within_s=60)
            until_blocking(lambda: subscriber.of("config/reported")[-1]["version"] == 3)
            assert agent.stop() == 0
