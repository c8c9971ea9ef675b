"""Delivery over a real socket to brokers that hang up on a message, answer late, or do not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from agent.adapters.mqtt import MqttLink
from agent.adapters.system.clock import SystemClock
from agent.contract.topics import Topics
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.supervise import Ticks
from agent.ports import Publication
from tests import mqtt_packets as mqtt
from tests.brokers import HOST
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until
from tests.scripted_broker import ScriptedBroker

TOPICS = Topics("plant", "nano-42")
DOOR = TOPICS.below("detections/door")
CLOCK = SystemClock()


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with ScriptedBroker() as broker:
        yield broker


class Node:
    """A delivery stage on a real link, with back-offs that a test can wait for."""

    def __init__(self, broker: ScriptedBroker, **settings: Any) -> None:
        self.outbox = FakeOutbox(clock=CLOCK)
        self.announcements = Announcements()
        self.announcements.retain(Publication(TOPICS.info, b'{"v":1}', retain=True))
        self.metrics = FakeMetrics()
        self.conditions: dict[str, tuple[str, str | None]] = {}
        self.delivery = Delivery(
            link=MqttLink(
                host=HOST, port=broker.port, client_id="nano-42", clock=CLOCK, tls=None, insecure=True
            ),
            outbox=self.outbox,
            announcements=self.announcements,
            clock=CLOCK,
            metrics=self.metrics,
            ticks=Ticks(clock=CLOCK),
            topics=TOPICS,
            random=Random(1),
            on_condition=lambda who, status, _code, message: self.conditions.update({who: (status, message)}),
            on_inbound=lambda _inbound: None,
            on_connected=lambda _last_offline: None,
            **{"window": 8, "keepalive_s": 20, "backoff_base_s": 0.01, "backoff_cap_s": 0.02, **settings},
        )

    def commit(self, count: int = 1) -> None:
        for _ in range(count):
            self.outbox.commit(draft_of(made=CLOCK.now()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with blockbuster_ctx("agent"):
            task = asyncio.create_task(self.delivery.run(), name="delivery")
            try:
                yield
            finally:
                self.delivery.stop(reason="test", within_s=2)
                await asyncio.wait_for(task, 10)


def seq_of(sent: mqtt.Publish) -> int | None:
    return int(json.loads(sent.payload)["seq"]) if sent.topic == DOOR else None


async def test_a_row_on_which_the_broker_hangs_up_is_set_aside_and_the_rest_arrives(
    broker: ScriptedBroker,
) -> None:
    def answer(sent: mqtt.Publish) -> bytes | None:
        if seq_of(sent) == 12:
            broker.hang_up()
            return None
        return mqtt.puback(sent.mid)

    broker.on_publish = answer
    node = Node(broker)
    node.commit(40)
    async with node.running():
        await until(lambda: not node.outbox.rows, within_s=20)
        assert node.outbox.refused == [(12, "refused", None)]
        assert sorted(node.outbox.acknowledged) == [key for key in range(1, 41) if key != 12]
        assert node.metrics.counts["delivery_culprits_total"] == 1
        status, message = node.conditions["delivery"]
        assert status == "degraded"
        assert "the connection broke each time that it was sent" in str(message)
        # Three breaks to suspect it, two by itself to be sure: and then no more.
        connections = broker.connections
        assert connections <= 8
        node.commit(20)
        await until(lambda: not node.outbox.rows)
        assert broker.connections == connections


async def test_two_such_rows_are_found_one_after_the_other(broker: ScriptedBroker) -> None:
    def answer(sent: mqtt.Publish) -> bytes | None:
        if seq_of(sent) in {3, 5}:
            broker.hang_up()
            return None
        return mqtt.puback(sent.mid)

    broker.on_publish = answer
    node = Node(broker)
    node.commit(10)
    async with node.running():
        await until(lambda: not node.outbox.rows, within_s=20)
        assert sorted(key for key, _reason, _code in node.outbox.refused) == [3, 5]


async def test_a_line_that_breaks_again_and_again_condemns_nothing(broker: ScriptedBroker) -> None:
    """Each connection carries eleven publications, then it is gone, with whatever was on its way."""
    heard: list[int] = []

    def answer(sent: mqtt.Publish) -> bytes | None:
        heard.append(broker.connections)
        if heard.count(broker.connections) > 11:
            broker.hang_up()
            return None
        return mqtt.puback(sent.mid)

    broker.on_publish = answer
    node = Node(broker)
    node.commit(120)
    async with node.running():
        await until(lambda: not node.outbox.rows, within_s=30)
        assert node.outbox.refused == []
        assert broker.connections > 10
        broker.on_publish = lambda sent: mqtt.puback(sent.mid)


async def test_a_line_over_which_nothing_comes_back_for_a_while_condemns_nothing(
    broker: ScriptedBroker,
) -> None:
    """Ten connections die before anything is acknowledged: that says nothing about a row."""

    def answer(sent: mqtt.Publish) -> bytes | None:
        if broker.connections <= 10:
            broker.hang_up()
            return None
        return mqtt.puback(sent.mid)

    broker.on_publish = answer
    node = Node(broker)
    node.commit(30)
    async with node.running():
        await until(lambda: not node.outbox.rows, within_s=20)
        assert node.outbox.refused == []


@pytest.mark.parametrize("receive_maximum", [1, 65_535])
async def test_late_acknowledgements_never_widen_the_window_and_nothing_is_sent_again(
    broker: ScriptedBroker, receive_maximum: int
) -> None:
    allowed = min(8, receive_maximum)
    broker.on_connect = lambda _packet: mqtt.connack(0, b"\x21" + receive_maximum.to_bytes(2, "big"))
    waiting: list[int] = []
    most = 0

    def answer(sent: mqtt.Publish) -> bytes | None:
        nonlocal most
        if seq_of(sent) is None:
            return mqtt.puback(sent.mid)
        waiting.append(sent.mid)
        most = max(most, len(waiting))
        return None

    broker.on_publish = answer
    node = Node(broker)
    node.commit(20)
    async with node.running():
        # The backlog alone leaves a fifth of the window to what is new.
        await until(lambda: len(waiting) == max(1, allowed - allowed // 5))
        node.commit(20)
        await until(lambda: len(waiting) == allowed)
        while node.outbox.rows:
            if waiting:
                broker.send(mqtt.puback(waiting.pop(0)))
            await asyncio.sleep(0.001)
        assert most == allowed
        assert sorted(seq for sent in broker.published if (seq := seq_of(sent))) == list(range(1, 41))


async def test_a_broker_that_never_hears_the_farewell_is_not_said_to_have_been_left_in_order(
    broker: ScriptedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(broker)
    async with node.running():
        await node.delivery.wait_drained()
        broker.silent = True
        node.delivery.stop(reason="signal", within_s=0.5)
        await until(lambda: not node.delivery.connected, within_s=5)
    told = capsys.readouterr().out
    assert "link.farewell_unheard" in told
    assert "link.left " not in told
