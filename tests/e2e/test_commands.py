"""Commands as a person sends them, with mosquitto_pub, to a real node over a real broker."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from agent.contract.schemas import wire_schemas
from tests.brokers import HOST, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking
from tests.programs import find_program

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

MODELS = Path(__file__).parents[2] / "agent/demo/models"

POLICY = """\
v: 1
version: 1
policy:
  models: {parts: {file: parts.onnx}}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 5}
    bare: {kind: synthetic, rate_hz: 5}
    board: {kind: system, every_s: 1}
    away: {kind: rtsp, url: "rtsp://127.0.0.1:1/live", secret: cam, open_timeout_s: 1}
  publish: {heartbeat_s: 1, keep_until: stored}
"""
PLANTED = "planted-password"
GRANTS = """
allowed_hosts = ["127.0.0.1"]
[secrets.cam]
username = "bob"
password_file = "cam.password"
hosts = ["127.0.0.1"]
[pipes.cam]
command = ["ffmpeg", "-i", "rtsp://bob:planted-password@cam/live"]
width_px = 640
height_px = 480
"""


def beside(broker: Mosquitto) -> tuple[str, ...]:
    """For a second client: one with the operator's certificate would take the first one's place."""
    return ("-V", "mqttv5", "-h", HOST, "-p", str(broker.plain_port))


class Person:
    """`mosquitto_pub` and `mosquitto_sub`, and patience."""

    def __init__(self, broker: Mosquitto, subscriber: Subscriber, node: str) -> None:
        self._broker = broker
        self._subscriber = subscriber
        self._node = node

    def publish(self, topic: str, payload: str, *options: str) -> None:
        program = find_program("mosquitto_pub")
        assert program is not None
        subprocess.run(
            [
                program,
                *beside(self._broker),
                *("-q", "1", *options),
                *("-t", f"edge/v1/{SITE}/{self._node}/{topic}", "-m", payload),
            ],
            check=True,
            timeout=20,
        )

    def command(self, op: str, command_id: str, *options: str, **args: Any) -> dict[str, Any]:
        """Send it; its last word."""
        heard = len(self.heard(op, command_id))
        envelope = {"v": 1, "op": op, "id": command_id, "args": args, "issuer": "test"}
        self.publish(f"command/{op}/{command_id}", json.dumps(envelope), *options)
        until_blocking(lambda: len(self.heard(op, command_id)) > heard, within_s=60)
        return self.heard(op, command_id)[-1]

    def heard(self, op: str, command_id: str) -> list[dict[str, Any]]:
        told = self._subscriber.of(f"result/{op}/{command_id}")
        return [each for each in told if each["status"] not in {"accepted", "running"}]


def picture_from(
    broker: Mosquitto, source: str, person: Person
) -> tuple[dict[str, str], bytes, dict[str, Any]]:
    """The user properties and the bytes of one snapshot, and the result of the command for it."""
    program = find_program("mosquitto_sub")
    assert program is not None
    subscribed = broker.log.count("Sending SUBACK to watcher")
    with subprocess.Popen(
        [
            program,
            *beside(broker),
            *("-i", "watcher", "-q", "1", "-C", "1", "-W", "40"),
            *("-t", f"edge/v1/{SITE}/nano-1/snapshots/{source}", "-F", "%P\n%x"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as watcher:
        until_blocking(lambda: broker.log.count("Sending SUBACK to watcher") > subscribed)
        result = person.command("snapshot", f"see-{source}", source=source, quality=70, longest_side_px=320)
        out, _ = watcher.communicate(timeout=45)
    *properties, body = out.splitlines()
    pairs = [
        (pair.partition(":")[0], pair.partition(":")[2]) for line in properties for pair in line.split(" ")
    ]
    return dict(pairs), bytes.fromhex(body), result


def grant_password(agent: AgentProcess) -> None:
    file = agent.folder / "cam.password"
    file.write_text(f"{PLANTED}-2\n")
    file.chmod(0o600)


@dataclass(frozen=True, slots=True)
class Site:
    """A node at work, and a person who talks to it."""

    broker: Mosquitto
    subscriber: Subscriber
    agent: AgentProcess
    person: Person


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    broker = Mosquitto(folder, plain=True)
    with broker, Subscriber(folder, broker) as subscriber:
        agent = AgentProcess(
            folder / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[MODELS / "parts.onnx"],
            extra_settings=GRANTS,
        )
        grant_password(agent)
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) > 3, within_s=60)
            yield Site(broker, subscriber, agent, Person(broker, subscriber, "nano-1"))
            assert agent.stop() == 0


def test_a_node_says_what_it_can_do(site: Site) -> None:
    able = {"ping", "snapshot", "replay", "diagnose", "log-level", "restart-source", "patch-config"}
    assert able <= set(site.subscriber.of("info")[-1]["capabilities"])


def test_ping_is_answered_and_answered_alike_when_it_comes_again(site: Site) -> None:
    pong = site.person.command("ping", "ping-1")
    assert (pong["status"], pong["code"]) == ("done", None)
    assert pong["output"]["config_version"] == 1
    again = site.person.command("ping", "ping-1")
    assert again["output"] == pong["output"]
    assert again["seq"] > pong["seq"]


def test_a_command_that_somebody_retains_is_refused_also_while_the_node_is_there(site: Site) -> None:
    refused = site.person.command("ping", "kept-now", "--retain")
    site.person.publish("command/ping/kept-now", "", "--retain")
    assert (refused["status"], refused["code"]) == ("rejected", "E_RETAINED")
    assert site.subscriber.of("state")[-1]["state"] == "online"


def test_a_snapshot_is_a_picture_with_the_message_of_its_frame_beside_it(site: Site) -> None:
    for source in ("line", "bare"):
        properties, body, result = picture_from(site.broker, source, site.person)
        decoded = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert max(decoded.shape[:2]) == 320
        assert result["output"]["bytes"] == len(body)
        assert result["output"]["frame"] == properties["frame"]
        assert (result["output"]["detections"] is not None) == (source == "line")
        assert (properties["v"], properties["source"]) == ("1", source)
        assert "seq" in properties
    found = site.subscriber.of("result/snapshot/see-line")[-1]["output"]["detections"]
    until_blocking(lambda: message_of(site.subscriber, found) is not None)
    message = message_of(site.subscriber, found)
    assert message is not None
    assert [each["box"] for each in message["objects"]] == [each["box"] for each in found["objects"]]


def test_a_snapshot_of_what_is_no_camera_says_what_is(site: Site) -> None:
    result = site.person.command("snapshot", "see-roof", source="roof")
    assert (result["status"], result["code"], result["path"]) == ("failed", "E_SCHEMA", "/args/source")
    assert "bare, line" in result["message"]


def test_replay_sends_again_what_is_still_held(site: Site) -> None:
    first = site.subscriber.of("detections/line")[0]
    asked = {"stream": "detections/line", "epoch": first["epoch"], "from": 0, "to": first["seq"]}
    answer = site.person.command("replay", "again-1", **asked)["output"]
    assert (answer["from"], answer["to"]) == (0, first["seq"])
    assert answer["rows"] >= 1
    until_blocking(
        lambda: [each["seq"] for each in site.subscriber.of("detections/line")].count(first["seq"]) > 1
    )


def test_the_log_tells_more_for_a_while(site: Site) -> None:
    assert site.person.command("log-level", "more-1", level="debug", for_s=1)["output"]["then"] == "info"
    until_blocking(lambda: '"level":"debug"' in site.agent.log)
    until_blocking(lambda: site.agent.log.count('"event":"log.level_changed"') == 2)


def test_a_source_is_opened_anew(site: Site) -> None:
    restarted = site.person.command("restart-source", "anew-1", source="bare")
    assert (restarted["status"], restarted["message"]) == ("done", "")
    opened = [line for line in site.agent.events if line["event"] == "source.opened"]
    assert [line["source"] for line in opened].count("bare") == 2


def test_a_diagnosis_is_whole_bounded_and_without_secrets(site: Site) -> None:
    until_blocking(lambda: '"event":"source.failed"' in site.agent.log)
    bundle = site.person.command("diagnose", "look-1")["output"]
    sections = {"node", "health", "versions", "machine", "threads", "outbox", "settings", "tasks", "warnings"}
    assert sections <= set(bundle)
    told = json.dumps(bundle)
    assert len(told) <= 32_768
    assert any(name.startswith("capture[line]") for name in bundle["threads"])
    assert {"source.failed"} <= {entry["event"] for entry in bundle["warnings"]}
    assert PLANTED not in told
    assert PLANTED not in site.agent.log
    assert "nano-1.key" not in told
    assert bundle["settings"]["secrets"] == {"cam": {"hosts": ["127.0.0.1"]}}
    assert bundle["settings"]["pipes"] == {"cam": {"width_px": 640, "height_px": 480, "format": "bgr24"}}


def test_results_are_one_stream_without_a_gap_as_their_schema_says(site: Site) -> None:
    results = [
        message.content for message in site.subscriber.messages() if message.stream.startswith("result/")
    ]
    assert results
    for result in results:
        jsonschema.validate(result, wire_schemas()["result"])
    assert sorted(result["seq"] for result in results) == list(range(len(results)))


def message_of(subscriber: Subscriber, found: dict[str, Any]) -> dict[str, Any] | None:
    number = found["frame"]["number"]
    told = subscriber.of(f"detections/{found['source']}")
    return next((each for each in told if each["frame"]["number"] == number), None)


def test_the_next_process_tells_what_a_crash_cut_short_and_refuses_what_is_retained(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, plain=True)
    policy = POLICY.replace("rate_hz: 5}", "rate_hz: 5, enabled: false}", 1).replace("model: parts, ", "")
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=policy,
            media=[MODELS / "parts.onnx"],
            extra_settings=GRANTS,
        )
        grant_password(agent)
        person = Person(broker, subscriber, "nano-1")

        def told(command_id: str) -> list[str]:
            return [each["status"] for each in subscriber.of(f"result/restart-source/{command_id}")]

        with agent.start():
            until_blocking(lambda: len(subscriber.of("state")) > 0, within_s=60)
            # Nobody answers there: it waits for a picture until it is given up, which is long after this.
            envelope = {"v": 1, "op": "restart-source", "id": "cut-1", "args": {"source": "away"}}
            person.publish("command/restart-source/cut-1", json.dumps(envelope))
            until_blocking(lambda: "running" in told("cut-1"), within_s=20)
            agent.kill()
        person.publish("command/ping/kept-1", json.dumps({"v": 1, "op": "ping", "id": "kept-1"}), "--retain")
        before = told("cut-1")
        with agent.start():
            until_blocking(lambda: len(person.heard("restart-source", "cut-1")) > 0, within_s=60)
            last = person.heard("restart-source", "cut-1")[-1]
            until_blocking(lambda: len(person.heard("ping", "kept-1")) > 0, within_s=20)
            assert person.heard("ping", "kept-1")[-1]["code"] == "E_RETAINED"
            assert agent.stop() == 0
    assert before == ["accepted", "running"]
    assert (last["status"], last["code"], last["retryable"]) == ("failed", "E_INTERRUPTED", True)
