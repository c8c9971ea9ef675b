"""docs/rules.md: its rules serve, and no question is missing in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agent.adapters.cel import CelRuleCompiler
from agent.contract.calls import FUNCTIONS
from agent.contract.policy import Policy
from agent.domain.stamp import rfc3339
from agent.pipeline.rulebook import prepare
from tests.brokers import HOST, Mosquitto
from tests.polling import until_blocking

DOCUMENT: Final = (Path(__file__).parent.parent.parent / "docs/rules.md").read_text(encoding="utf-8")
SQUARE: Final = {"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}


def test_the_rules_of_the_document_serve() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    document: dict[str, Any] = yaml.safe_load(shown)
    policy = Policy.model_validate(
        {
            "sources": {
                "hall": {"kind": "synthetic", "zones": {"machine": SQUARE}, "tracking": {}},
                "motor": {"kind": "vibration"},
            },
            "rules": document["rules"],
        }
    )
    prepared = prepare(policy, compiler=CelRuleCompiler())
    assert list(prepared.book.rules) == ["loitering", "night-visit", "bearing", "blind"]


def test_every_question_and_argument_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", DOCUMENT, re.MULTILINE))
    assert rows.keys() == FUNCTIONS.keys()
    for name, function in FUNCTIONS.items():
        assert set(re.findall(r"(\w+)=", rows[name])) == set(function.by_name)


BASE: Final = "edge/v1/plant/nano-42"
TRIED: Final = """\
version: 1
policy:
  sources: {hall: {kind: synthetic}, motor: {kind: vibration}}
  rules: {seen: {when: 'count("person") > 0 && reading("motor/temperature") > 80'}}
"""


def _publish(broker: Mosquitto, topic: str, payload: bytes) -> None:
    plain = ["-h", HOST, "-p", str(broker.plain_port)]
    subprocess.run(
        ["mosquitto_pub", *plain, "-q", "1", "-t", f"{BASE}/{topic}", "-s"],
        input=payload,
        check=True,
        timeout=20,
    )


def _message(source: str, **rest: Any) -> bytes:
    head = {"v": 1, "epoch": "01JC", "seq": 1, "site": "plant", "node": "nano-42", "boot": "b"}
    times = {"clock": "synced", "time": rfc3339(1_700_000_000_000_000_000), "monotonic_ms": 5000}
    return json.dumps({**head, **times, "source": source, **rest}).encode()


@pytest.mark.broker
def test_what_the_documented_line_records_can_be_tried(tmp_path: Path) -> None:
    lines = re.search(r"```bash\n(mosquitto_sub .*?)\n(nanofleet rules test .*?)\n```", DOCUMENT, re.DOTALL)
    assert lines is not None
    record, trial = lines.groups()
    (tmp_path / "policy.yaml").write_text(TRIED)
    person = {"class": "person", "class_id": 0, "confidence": 0.9, "box": [0, 0, 1, 1]}
    heat = {"name": "temperature", "value": 81.0, "unit": "°C", "quality": "good"}
    with Mosquitto(tmp_path, plain=True) as broker:
        recording = subprocess.Popen(
            ["sh", "-c", "exec " + record.replace("-h broker", f"-h {HOST} -p {broker.plain_port}")],
            cwd=tmp_path,
        )
        try:
            until_blocking(lambda: "Sending SUBACK" in broker.log)
            _publish(broker, "snapshots/hall", b"\xff\xd8\xff\xe0\x00\x10JFIF\n\x80\x81\nabc {")
            _publish(broker, "detections/hall", _message("hall", objects=[person]))
            heard = {"time": rfc3339(1_700_000_000_000_000_000), **heat}
            _publish(broker, "telemetry/motor", _message("motor", readings=[heard], scores=[]))
            until_blocking(lambda: (tmp_path / "messages").read_bytes().count(b"\n") >= 2)
        finally:
            recording.terminate()
            recording.wait(timeout=10)
    command = trial.replace("nanofleet", str(Path(sys.executable).with_name("nanofleet")), 1)
    done = subprocess.run(
        ["sh", "-c", f"{command} --json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["messages"], told["skipped_lines"]) == (2, 0)
    assert [event["rule"] for event in told["events"]] == ["seen"]
