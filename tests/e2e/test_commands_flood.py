"""A thousand commands a second, of every kind, at a node that has better things to do."""

import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.contract.payloads import Heartbeat
from tests.brokers import HOST, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

MODELS = Path(__file__).parents[2] / "agent/demo/models"
RATE_HZ = 10
PER_S = 1_000

POLICY = f"""\
v: 1
version: 1
policy:
  models: {{parts: {{file: parts.onnx}}}}
  sources:
    line: {{kind: synthetic, model: parts, rate_hz: {RATE_HZ}}}
  publish: {{heartbeat_s: 1}}
"""


def ping(number: int) -> bytes:
    return json.dumps({"v": 1, "op": "ping", "id": f"f-{number}"}).encode()


KINDS: list[Callable[[int], bytes]] = [
    ping,
    ping,
    lambda number: b"{" + b" " * (number % 50),
    lambda _number: b"[" * 200,
    lambda _number: b"\xff" * 100,
]
LARGE: Final = json.dumps([1] * 20_000).encode()
"""60 kB that take a tenth of a second to read; one in a hundred."""


@contextmanager
def flooding(broker: Mosquitto) -> Iterator[Counter[str]]:
    """`PER_S` messages a second from another thread, until the end; what was sent is counted."""
    sent: Counter[str] = Counter()
    over = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(HOST, broker.plain_port or 0)
    client.loop_start()

    def flood() -> None:
        began_s = time.monotonic()
        for number in itertools.count():
            if over.is_set():
                return
            payload = KINDS[number % len(KINDS)](number) if number % 100 else LARGE
            client.publish(f"edge/v1/{SITE}/nano-1/command/ping/f-{number}", payload, qos=0)
            sent["messages"] += 1
            ahead_s = began_s + number / PER_S - time.monotonic()
            if ahead_s > 0.01:
                over.wait(ahead_s)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


def beats(subscriber: Subscriber, *, after: int, count: int) -> list[dict[str, Any]]:
    """So many heartbeats after the first `after`."""
    until_blocking(lambda: len(subscriber.of("heartbeat")) >= after + count, within_s=60)
    return subscriber.of("heartbeat")[after : after + count]


def test_a_flood_takes_a_small_part_of_a_core(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, plain=True)
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy="v: 1\nversion: 1\npolicy: {publish: {heartbeat_s: 1}}\n",
        )
        with agent.start():
            beats(subscriber, after=2, count=1)
            with flooding(broker) as sent:
                until_blocking(lambda: sent["messages"] > 1_000, within_s=30)
                before, before_s, began_s = sent["messages"], cpu_s(agent.pid), time.monotonic()
                until_blocking(lambda: sent["messages"] > before + 10_000, within_s=60)
                used_s, lasted_s = cpu_s(agent.pid) - before_s, time.monotonic() - began_s
            assert agent.stop() == 0
    print(f"{used_s / lasted_s:.3f} of a core at {10_000 / lasted_s:.0f} commands a second")
    assert used_s < 10_000 * 300e-6


def cpu_s(pid: int) -> float:
    """Processor time of all its threads, in user and system. Source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_inference_and_memory_do_not_notice_a_flood_of_commands(tmp_path: Path) -> None:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    broker = Mosquitto(tmp_path, plain=True, extra=["max_queued_messages 0"])
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[MODELS / "parts.onnx"],
        )
        with agent.start():
            quiet = beats(subscriber, after=4, count=6)
            with flooding(broker) as sent:
                began = len(subscriber.of("heartbeat"))
                flooded = beats(subscriber, after=began + 1, count=10)
            after = beats(subscriber, after=len(subscriber.of("heartbeat")) + 1, count=3)
            assert agent.stop() == 0
        results = [m.content for m in subscriber.messages() if m.stream.startswith("result/")]
    assert sent["messages"] > 5_000
    usual = [beat["fps"]["line"] for beat in quiet]
    rate = median(beat["fps"]["line"] for beat in flooded) / median(usual)
    afterwards = [beat["fps"]["line"] for beat in after]
    figures = (
        f"rate {rate:.3f} of {median(usual)}, {min(afterwards)} afterwards, "
        f"memory {quiet[-1]['memory_mb']} to "
        f"{after[-1]['memory_mb']} MB, {sent['messages']} sent, {len(results)} answered"
    )
    print(figures)
    assert after[-1]["memory_mb"] - quiet[-1]["memory_mb"] < 20
    assert 100 < len(results) < 600
    codes = {result["code"] for result in results}
    assert {None, "E_BUSY", "E_JSON", "E_DEPTH"} <= codes
    for beat in flooded:
        Heartbeat.model_validate(beat)
    if min(*usual, *afterwards) <= 0.95 * RATE_HZ or (load > 1 and rate <= 0.95):
        pytest.skip(f"too much other work here ({load:.1f} a core) to tell whose frames are late: {figures}")
    assert rate > 0.95
