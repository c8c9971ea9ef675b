"""Rules on a real node over a real broker: events and what they rest on, alarms, and a kill between."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.contract.schemas import wire_schemas
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess, command
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

MODELS = Path(__file__).parents[2] / "agent/demo/models"

POLICY: dict[str, Any] = {
    "version": 1,
    "policy": {
        "models": {"parts": {"file": "parts.onnx"}},
        "sources": {
            "line": {
                "kind": "synthetic",
                "model": "parts",
                "rate_hz": 10,
                "tracking": {},
                "zones": {"left": {"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}},
                "lines": {"middle": {"points": [[0.5, 0], [0.5, 1]]}},
            },
            "board": {"kind": "system", "every_s": 1},
        },
        "rules": {
            "present": {
                "when": 'count(source="line") >= 0 && reading("board/memory_used") > 0',
                "severity": "warning",
                "message": "The line is in view",
                "alarm": True,
                "update_every_s": 1,
            },
            "passed": {"when": 'crossed("middle", within_s=0.5) > 0'},
            "stays": {"when": 'dwell(zone="left") > 0.5', "cool_down_s": 1},
        },
    },
}


def events(subscriber: Subscriber, rule: str, phase: str | None = None) -> list[dict[str, Any]]:
    return [each for each in subscriber.of(f"events/{rule}") if phase in {None, each["phase"]}]


def test_events_rest_on_messages_and_outlive_a_kill(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=json.dumps(POLICY),
            media=[MODELS / "parts.onnx"],
        )
        with agent:
            agent.start()
            until_blocking(lambda: len(events(subscriber, "passed", "end")) >= 2, within_s=60)
            until_blocking(lambda: bool(events(subscriber, "stays", "begin")), within_s=60)
            until_blocking(lambda: bool(events(subscriber, "present", "update")), within_s=60)
            (begin,) = events(subscriber, "present", "begin")
            alarm = subscriber.of("alarms/present")[-1]
            jsonschema.validate(alarm, wire_schemas()["alarms"])
            assert (alarm["event"], alarm["message"]) == (begin["event"], "The line is in view")
            check_evidence(subscriber)

            agent.kill()
            before = len(events(subscriber, "present"))
            agent.start()
            until_blocking(lambda: len(events(subscriber, "present")) > before + 1, within_s=60)
            assert {event["event"] for event in events(subscriber, "present")} == {begin["event"]}
            assert {event["began"] for event in events(subscriber, "present")} == {begin["began"]}
            assert len(events(subscriber, "present", "begin")) == 1
            assert agent.stop() == 0

            del POLICY_WITHOUT["policy"]["rules"]["present"]
            (agent.folder / "policy.yaml").write_text(json.dumps(POLICY_WITHOUT))
            agent.start()
            until_blocking(lambda: bool(events(subscriber, "present", "end")), within_s=60)
            (end,) = events(subscriber, "present", "end")
            assert (end["event"], end["reason"]) == (begin["event"], "removed")
            until_blocking(lambda: subscriber.of("alarms/present")[-1] == {}, within_s=60)
            assert agent.stop() == 0
        recorded = [json.loads(line) for line in (tmp_path / "received").read_bytes().splitlines()]
    assert subscriber.continuity().missing() == {}
    tried = try_on(recorded, agent.folder, tmp_path)
    assert {event["rule"] for event in tried["events"]} >= {"stays"}


POLICY_WITHOUT: dict[str, Any] = {**json.loads(json.dumps(POLICY)), "version": 2}


def check_evidence(subscriber: Subscriber) -> None:
    """Every event is of the contract, and rests on messages that arrive, be it after it."""
    schema = wire_schemas()["events"]
    told = [event for rule in ("present", "passed", "stays") for event in events(subscriber, rule)]
    moments: set[int] = set()
    for event in told:
        jsonschema.validate(event, schema)
        ranges = event["evidence"]["detections/line"]
        moments |= {ranges["first_ms"], ranges["last_ms"]}
    until_blocking(
        lambda: moments <= {seen["monotonic_ms"] for seen in subscriber.of("detections/line")}, within_s=20
    )


def try_on(recorded: list[dict[str, Any]], folder: Path, tmp_path: Path) -> dict[str, Any]:
    """`nanofleet rules test` on what a person recorded."""
    messages = tmp_path / "messages"
    messages.write_text("".join(json.dumps(each) + "\n" for each in recorded))
    done = command("rules", "test", "--policy", folder / "policy.yaml", "--messages", messages, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told
