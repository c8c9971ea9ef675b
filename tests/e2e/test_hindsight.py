"""`explain` and `what-if` as a person asks for them, and what then comes of the patch that was tried."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.e2e.test_commands import Person
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

MODELS = Path(__file__).parents[2] / "agent/demo/models"

POLICY = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 5}
    board: {kind: system, every_s: 1}
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("hindsight")
    broker = Mosquitto(folder, plain=True)
    with broker, Subscriber(folder, broker) as subscriber:
        agent = AgentProcess(
            folder / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[MODELS / "parts.onnx"],
        )
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) > 10, within_s=60)
            yield Person(broker, subscriber, "nano-1")
            assert agent.stop() == 0


def objects(told: dict[str, Any]) -> tuple[int, int]:
    counts = told["cameras"]["line"]["objects"].values()
    return sum(each["before"] for each in counts), sum(each["after"] for each in counts)


def test_explain_accounts_for_every_candidate(person: Person) -> None:
    result = person.command("explain", "why-1", source="line")
    assert (result["status"], result["code"]) == ("done", None)
    told = result["output"]
    assert told["minute"]["frames"] > 10
    assert told["minute"]["fates"]["reported"] > 0
    assert sum(told["minute"]["fates"].values()) == told["minute"]["candidates"]
    assert told["thresholds"]["confidence"]["from"] in {"default", "model package"}
    assert told["frames"]["inferred"] >= told["minute"]["frames"]


def test_explain_of_a_sensor_says_which_cameras_there_are(person: Person) -> None:
    result = person.command("explain", "why-2", source="board")
    assert (result["status"], result["code"], result["path"]) == ("failed", "E_SCHEMA", "/args/source")
    assert "there are line" in result["message"]


def test_what_if_tells_what_a_threshold_and_a_rule_would_have_done(person: Person) -> None:
    patch = {
        "sources": {"line": {"thresholds": {"confidence": 0.999}, "fps": 2}},
        "rules": {"parts": {"when": 'count(source="line") >= 1'}},
    }
    told = person.command("what-if", "try-1", patch=patch, minutes=5)["output"]
    before, after = objects(told)
    assert before > 0
    assert after == 0
    assert told["rules"] == {"parts": {"before": None, "after": {"events": 0, "began": []}}}
    assert told["ignored"] == ["/sources/line/fps"]
    keeping = person.command("what-if", "try-2", patch={"rules": patch["rules"]}, minutes=5)["output"]
    assert keeping["rules"]["parts"]["after"]["events"] >= 1
    assert objects(keeping)[0] == objects(keeping)[1]


def test_a_patch_that_is_no_policy_is_refused_as_it_would_be_applied(person: Person) -> None:
    patch = {"sources": {"line": {"model": "nothing"}}}
    tried = person.command("what-if", "try-3", patch=patch, minutes=1)
    assert (tried["status"], tried["code"], tried["path"]) == (
        "failed",
        "E_SCHEMA",
        "/policy/sources/line/model",
    )
    forbidden = person.command("what-if", "try-4", patch={"models": {"parts": {"file": "x.onnx"}}}, minutes=1)
    assert forbidden["status"] == "failed"
