"""Somebody with the operator's certificate who means harm, at a node that has a camera to look after."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.brokers import HOST, PUBLISHER, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

MODELS: Final = Path(__file__).parents[2] / "agent/demo/models"
NODE: Final = "nano-1"
RATE_HZ: Final = 10
FLOOD_S: Final = 12
COMMANDS_PER_S: Final = 1_000
DESIRED_PER_S: Final = 100
HUGE_TO: Final = ("config/desired", "command/ping/huge", "ack/result")
MOST_GROWTH_KB: Final = 20 << 10

POLICY: Final = f"""\
v: 1
version: 5
policy:
  models: {{parts: {{file: parts.onnx}}}}
  sources:
    line: {{kind: synthetic, model: parts, rate_hz: {RATE_HZ}}}
  publish: {{heartbeat_s: 1}}
"""


def policy(version: int, **sections: Any) -> bytes:
    return json.dumps({"v": 1, "version": version, "policy": sections}).encode()


DESIRED: Final[list[Callable[[int], bytes]]] = [
    lambda number: b'{"v": 1, "number": %d, "k": [' % number + b'"\\",' * 13_000,
    lambda number: b"%d" % number + b"[" * 60_000,
    lambda number: b'{"v": 1, "a": %d' % number + b', "a": 0' * 7_000 + b"}",
    lambda number: policy(number, **{f"k{key}": 0 for key in range(5_000)}),
    lambda number: policy(5, power={"max_temperature_c": 50 + number % 40 + number / 1e6}),
    lambda number: policy(number % 5, publish={"window": 1 + number % 100}),
    lambda number: policy(100 + number, sources={"line": {"kind": "rtsp", "url": "rtsp://10.9.9.9/"}}),
    lambda number: policy(100 + number, models={"parts": {"file": f"models/none-{number}.onnx"}}),
    lambda number: policy(100 + number, rules={"r": {"when": f"[{number}].all(x, x > 1)"}}),
    lambda number: b"\xff" * (number % 1_000 + 1),
    lambda number: b" " * (80_000 + number % 1_000),
]

COMMANDS: Final[list[Callable[[int], tuple[str, bytes]]]] = [
    lambda number: ("ping", json.dumps({"v": 1, "op": "ping", "id": f"f-{number}"}).encode()),
    lambda _number: ("ping", b"[" * 200),
    lambda _number: ("diagnose", b"\xff" * 100),
    lambda number: (
        "patch-config",
        json.dumps(
            {
                "v": 1,
                "op": "patch-config",
                "id": f"f-{number}",
                "args": {"version": number, "patch": {"sources": {"line": {"fps": -1}}}},
            }
        ).encode(),
    ),
    lambda _number: ("what-if", json.dumps([1] * 20_000).encode()),
]


class Attacker:
    """Publishes as fast as it is told to; `sent` counts by what it was."""

    def __init__(self, broker: Mosquitto) -> None:
        identity = broker.authority.issue(PUBLISHER)
        self.sent: Counter[str] = Counter()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=PUBLISHER, protocol=mqtt.MQTTv5, clean_session=None
        )
        self._client.tls_set(str(identity.ca), str(identity.certificate), str(identity.key))
        self._client.connect(HOST, broker.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 0) -> None:
        self._client.publish(f"edge/v1/{SITE}/{NODE}/{topic}", payload, qos=qos, retain=retain)

    @contextmanager
    def attacking(self) -> Iterator[None]:
        """Until the end: commands, desired documents and, once a second, ten megabytes."""
        over = threading.Event()
        thread = threading.Thread(target=self._attack, args=[over])
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._client.publish("elsewhere", b"", qos=1).wait_for_publish(timeout=60)  # all is out

    def _attack(self, over: threading.Event) -> None:
        began_s = time.monotonic()
        huge = b'{"v": 1, "version": 9, "policy": {}}' + b" " * (10 << 20)
        for number in itertools.count(1):
            if over.is_set():
                return
            op, command = COMMANDS[number % len(COMMANDS)](number)
            if op != "what-if" or number % 100 == 4:  # 60 kB, ten times a second
                self.publish(f"command/{op}/f-{number}", command)
                self.sent["commands"] += 1
            if number % (COMMANDS_PER_S // DESIRED_PER_S) == 0:
                document = DESIRED[self.sent["desired"] % len(DESIRED)](number)
                self.publish("config/desired", document, retain=True)
                self.sent["desired"] += 1
            if number % COMMANDS_PER_S == 0:
                self.publish(HUGE_TO[self.sent["huge"] % len(HUGE_TO)], huge)
                self.sent["huge"] += 1
            ahead_s = began_s + number / COMMANDS_PER_S - time.monotonic()
            if ahead_s > 0.005:
                over.wait(ahead_s)


def high_water_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def has_refused(agent: AgentProcess, count: int) -> bool:
    return agent.log.count('"policy.refused"') >= count


def frames_per_s(subscriber: Subscriber, *, since: int, count: int) -> float:
    """Of so many frames that were inferred, by the times at which they were seen."""
    until_blocking(lambda: len(subscriber.of("detections/line")) >= since + count, within_s=90, every_s=0.3)
    frames = subscriber.of("detections/line")[since : since + count]
    first, last = (datetime.fromisoformat(frames[at]["time"]) for at in (0, -1))
    return (count - 1) / (last - first).total_seconds()


def answered_after_s(attacker: Attacker, subscriber: Subscriber) -> float:
    """How long it takes until a ping is done; it is sent anew, with another id, as somebody would."""
    asked_s = time.monotonic()
    for number in range(10):
        envelope = {"v": 1, "op": "ping", "id": f"after-{number}"}
        attacker.publish(f"command/ping/after-{number}", json.dumps(envelope).encode())
        patience_s = time.monotonic() + 1.0
        while time.monotonic() < patience_s:
            told = subscriber.of(f"result/ping/after-{number}")
            if told and told[-1]["status"] == "done":
                return time.monotonic() - asked_s
            time.sleep(0.05)
    raise AssertionError("no ping was answered")


def test_an_attacker_changes_nothing_and_slows_nothing(tmp_path: Path) -> None:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    broker = Mosquitto(tmp_path)
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue(NODE),
            port=broker.port,
            policy=POLICY,
            media=[MODELS / "parts.onnx"],
        )
        with agent.start():
            until_blocking(lambda: len(subscriber.of("detections/line")) > 20, within_s=60)
            attacker = Attacker(broker)
            for count, make in enumerate(DESIRED, start=1):  # what is loaded once is loaded now
                attacker.publish("config/desired", make(1), qos=1)
                until_blocking(partial(has_refused, agent, count), within_s=30)
            usual = frames_per_s(subscriber, since=len(subscriber.of("detections/line")), count=60)
            before_kb, lines_before = high_water_kb(agent.pid), len(agent.events)
            refused_before = agent.log.count('"policy.refused"')
            began_s = time.monotonic()
            with attacker.attacking():
                began = len(subscriber.of("detections/line"))
                attacked = frames_per_s(subscriber, since=began + RATE_HZ, count=FLOOD_S * RATE_HZ)
            lasted_s = time.monotonic() - began_s
            answered_s = answered_after_s(attacker, subscriber)
            after = frames_per_s(subscriber, since=len(subscriber.of("detections/line")), count=40)
            grown_kb = high_water_kb(agent.pid) - before_kb
            refused = agent.log.count('"policy.refused"') - refused_before
            lines = len(agent.events) - lines_before
            until_blocking(lambda: bool(subscriber.of("config/reported")[-1]["attempts"]))
            attacker.close()
            assert agent.stop() == 0
        reported = subscriber.of("config/reported")[-1]
    figures = (
        f"{attacked:.2f} frames/s of {usual:.2f}, {after:.2f} afterwards; {grown_kb} kB more; "
        f"{dict(attacker.sent)} "
        f"in {lasted_s:.1f} s; {refused} documents looked at; {lines} lines in the log; "
        f"a ping answered after {answered_s:.2f} s"
    )
    print(figures)
    assert grown_kb < MOST_GROWTH_KB
    assert answered_s < 5
    assert reported["version"] == 5
    assert reported["policy"]["sources"]["line"]["rate_hz"] == RATE_HZ
    assert {attempt["status"] for attempt in reported["attempts"]} <= {"failed", "applied"}
    assert all(attempt["code"] for attempt in reported["attempts"] if attempt["status"] == "failed")
    # Each is a synced write: what was sent is far more.
    assert attacker.sent["desired"] > 500
    assert refused <= 25 + lasted_s / 6
    assert lines < 60 * lasted_s
    assert agent.log.count('"attempt.crashed"') == 0
    if min(usual, after) <= 0.95 * RATE_HZ or (load > 1 and attacked <= 0.95 * usual):
        pytest.skip(f"too much other work here ({load:.1f} a core) to tell whose frames are late: {figures}")
    assert attacked > 0.95 * usual
