"""kill -9 of the broker, and of the agent: what the outbox promises, held against the wire."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import pytest

from tests.brokers import HOST, Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.e2e.outbox_rows import count_waiting, given_numbers, waiting_rows
from tests.e2e.subscriber import Subscriber
from tests.polling import until, until_blocking
from tests.proxy import RecordingProxy

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

MODEL = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"

POLICY = """\
v: 1
version: 1
policy:
  models:
    parts: {file: parts.onnx}
    vibration: {file: vibration.onnx}
  sources:
    line: {kind: synthetic, model: parts, rate_hz: 15, width_px: 320, height_px: 320}
    belt: {kind: synthetic, model: parts, rate_hz: 15, width_px: 320, height_px: 320, seed: 2}
    motor: {kind: vibration, model: vibration, report_every_s: 0.25}
"""

MEDIA = (MODEL, MODEL.with_name("vibration.onnx"))


async def test_broker_killed_and_back_every_committed_row_was_acknowledged_or_still_waits(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    await asyncio.to_thread(broker.start)
    server = broker.authority.issue("proxy", HOST)
    node = broker.authority.issue("nano-1")
    try:
        async with RecordingProxy(broker.port, server=server, client=node) as proxy:
            agent = AgentProcess(
                tmp_path / "node", identity=node, port=proxy.port, policy=POLICY, media=MEDIA
            )
            with agent.start():
                for _ in range(3):
                    enough = len(proxy.acknowledged) + 40
                    await until(lambda enough=enough: len(proxy.acknowledged) > enough, within_s=60)  # type: ignore[misc]
                    await asyncio.to_thread(broker.kill)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(broker.start)
                enough = len(proxy.acknowledged) + 40
                await until(lambda: len(proxy.acknowledged) > enough, within_s=60)
                # The last time it does not come back: what is committed from now on has to wait.
                await asyncio.to_thread(broker.kill)
                await until(lambda: agent.log.count("link.lost") >= 4, within_s=30)
                assert await asyncio.to_thread(agent.stop) == 0
            base = f"edge/v1/{SITE}/nano-1/"
            acknowledged: dict[str, set[int]] = defaultdict(set)
            for sent in proxy.acknowledged:
                message = json.loads(sent.payload)
                if "seq" in message:
                    acknowledged[sent.topic.removeprefix(base)].add(message["seq"])
    finally:
        await asyncio.to_thread(broker.kill)

    waiting = waiting_rows(agent.outbox_file)
    given = given_numbers(agent.outbox_file)
    assert {"detections/line", "detections/belt", "telemetry/motor"} <= set(given)
    assert any(waiting.values())
    for stream, next_seq in given.items():
        known = acknowledged[stream] | waiting[stream]
        first = min(known)
        assert known == set(range(first, next_seq)), f"{stream}: not acknowledged, not waiting"
    assert proxy.most_unacknowledged <= 20
    messages = agent.report().messages
    assert messages.produced == messages.acknowledged + messages.waiting
    assert messages.lost == 0


def test_agent_killed_and_back_loses_no_committed_row_and_neither_reuses_nor_skips_a_number(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path, extra=["max_queued_messages 0"])
    with broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=MEDIA,
        )
        with agent:
            for _life in range(4):
                agent.start()
                enough = len(subscriber.messages()) + 30
                until_blocking(lambda enough=enough: len(subscriber.messages()) > enough, within_s=60)  # type: ignore[misc]
                agent.kill()
            until_quiet(subscriber)

            # One life without a broker: everything of it is only in the outbox when it dies.
            broker.stop()
            agent.start()
            until_blocking(lambda: count_waiting(agent.outbox_file) > 30, within_s=60)
            agent.kill()
            committed = waiting_rows(agent.outbox_file)
            given_before = given_numbers(agent.outbox_file)
            back = broker.log.count("Sending SUBACK to operator") + 1
            broker.start()
            until_blocking(lambda: broker.log.count("Sending SUBACK to operator") >= back, within_s=30)

            agent.start()
            until_blocking(lambda: count_waiting(agent.outbox_file) < 10, within_s=60)
            assert agent.stop() == 0
        until_quiet(subscriber)
        received = subscriber.by_stream()

    given = given_numbers(agent.outbox_file)
    assert all(given[stream] >= before for stream, before in given_before.items())
    assert len({message["epoch"] for messages in received.values() for message in messages}) == 1
    left = waiting_rows(agent.outbox_file)
    for stream, next_seq in given.items():
        contents: dict[int, set[str]] = defaultdict(set)
        for message in received.get(stream, []):
            contents[message["seq"]].add(json.dumps(message, sort_keys=True))
        # Sent twice is allowed; another message under the same number is not.
        assert all(len(versions) == 1 for versions in contents.values()), stream
        numbers = set(contents) | left[stream]
        assert numbers == set(range(min(numbers), next_seq)), stream
        assert committed[stream] <= numbers


def until_quiet(subscriber: Subscriber) -> None:
    """Wait until what the broker has taken is with the subscriber, too: nothing new in a second."""
    seen = [-1]

    def is_quiet() -> bool:
        now = len(subscriber.messages())
        quiet, seen[0] = now == seen[0], now
        return quiet

    until_blocking(is_quiet, every_s=1.0)
