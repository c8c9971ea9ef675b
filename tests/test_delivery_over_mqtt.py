"""Delivery over TLS to a real mosquitto, through a proxy that records and makes trouble."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from agent.adapters.mqtt import MqttLink, TlsFiles
from agent.adapters.mqtt.session import MqttSession
from agent.adapters.system.clock import SystemClock
from agent.contract.topics import Topics
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.supervise import Ticks
from agent.ports import Inbound, Publication
from tests.brokers import HOST, OPERATOR, Authority, Identity, Mosquitto
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until
from tests.proxy import RecordingProxy

pytestmark = pytest.mark.broker

TOPICS = Topics("plant", "nano-42")
DOOR = TOPICS.below("detections/door")
CLOCK = SystemClock()
NO_WILL = Publication("edge/v1/plant/operator/state", b"gone")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, authority=authority) as broker:
        yield broker


def link_of(identity: Identity, port: int) -> MqttLink:
    files = TlsFiles(ca=identity.ca, certificate=identity.certificate, key=identity.key)
    return MqttLink(host=HOST, port=port, client_id=identity.name, clock=CLOCK, tls=files)


class Node:
    """An outbox and its delivery, over a link that can do anything."""

    def __init__(self, link: MqttLink, outbox: FakeOutbox | None = None, **settings: Any) -> None:
        self.outbox = outbox or FakeOutbox(clock=CLOCK)
        self.announcements = Announcements()
        self.announcements.retain(Publication(TOPICS.info, b'{"v":1}', retain=True))
        self.metrics = FakeMetrics()
        self.conditions: dict[str, tuple[str, str | None]] = {}
        self.delivery = Delivery(
            link=link,
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
            **{"window": 20, "keepalive_s": 20, "backoff_base_s": 0.2, "backoff_cap_s": 0.4, **settings},
        )

    def commit(self, count: int = 1) -> None:
        for _ in range(count):
            self.outbox.commit(draft_of(made=CLOCK.now(), captured=CLOCK.now(), expiry_s=600))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with blockbuster_ctx("agent"):
            task = asyncio.create_task(self.delivery.run(), name="delivery")
            try:
                yield
            finally:
                if not task.done():
                    self.delivery.stop(reason="test", within_s=5)
                await asyncio.wait_for(task, 10)


class Reader:
    """What a consumer sees, from its subscription on."""

    def __init__(self, session: MqttSession) -> None:
        self.session = session
        self.heard: list[Inbound] = []

    @property
    def seqs(self) -> list[int]:
        return [json.loads(inbound.payload)["seq"] for inbound in self.heard if inbound.topic == DOOR]

    @property
    def states(self) -> list[tuple[str, int, str | None]]:
        states = [json.loads(i.payload) for i in self.heard if i.topic == TOPICS.state]
        return [(state["state"], state["session"], state["reason"]) for state in states]

    async def read(self) -> None:
        async for event in self.session.events():
            if isinstance(event, Inbound):
                self.heard.append(event)


@asynccontextmanager
async def reading(broker: Mosquitto) -> AsyncIterator[Reader]:
    operator = await asyncio.to_thread(broker.authority.issue, OPERATOR)
    link = await asyncio.to_thread(link_of, operator, broker.port)
    session = await link.connect(will=NO_WILL, keepalive_s=20)
    await session.subscribe([f"{TOPICS.base}/#"], no_local=True)
    reader = Reader(session)
    task = asyncio.create_task(reader.read(), name="reader")
    try:
        yield reader
    finally:
        await session.disconnect()
        await task


@asynccontextmanager
async def through_a_proxy(broker: Mosquitto, **settings: Any) -> AsyncIterator[tuple[Node, RecordingProxy]]:
    """A node whose packets can be read, because the proxy ends TLS on both sides."""
    node, front = broker.authority.issue("nano-42"), broker.authority.issue("proxy", HOST)
    async with RecordingProxy(broker.port, server=front, client=node) as proxy:
        yield Node(link_of(node, proxy.port), **settings), proxy


def assert_nothing_is_lost(node: Node, proxy: RecordingProxy) -> None:
    """Every committed row was acknowledged to the node, or is still waiting in its outbox."""
    acknowledged = {json.loads(sent.payload)["seq"] for sent in proxy.acknowledged if sent.topic == DOOR}
    waiting = {row.seq for row in node.outbox.rows.values()}
    committed = set(range(1, node.outbox._keys + 1))
    assert acknowledged | waiting == committed
    # A row leaves the outbox only after its PUBACK.
    assert committed - waiting <= acknowledged


async def test_everything_arrives_in_order_with_birth_before_and_farewell_after(broker: Mosquitto) -> None:
    async with reading(broker) as reader, through_a_proxy(broker) as (node, proxy):
        node.commit(500)
        async with node.running():
            await node.delivery.wait_drained()
            node.delivery.stop(reason="signal", within_s=5)
            await until(lambda: len(reader.states) == 2)
        assert reader.seqs == list(range(1, 501))
        assert reader.states == [("online", 1, None), ("offline", 1, "signal")]
        assert [inbound.topic for inbound in reader.heard[:3]] == [TOPICS.info, TOPICS.state, DOOR]
        assert proxy.most_unacknowledged <= 20
        assert_nothing_is_lost(node, proxy)


async def test_a_broker_killed_and_back_loses_nothing(broker: Mosquitto) -> None:
    async with through_a_proxy(broker) as (node, proxy), node.running():
        for _ in range(3):
            node.commit(200)
            await until(lambda: bool(node.outbox.acknowledged))
            await asyncio.to_thread(broker.kill)
            node.commit(200)
            assert_nothing_is_lost(node, proxy)
            await until(lambda: not node.delivery.connected)
            assert_nothing_is_lost(node, proxy)
            await asyncio.to_thread(broker.start)
            await node.delivery.wait_connected()
            await asyncio.wait_for(node.delivery.wait_drained(), 20)
            assert node.outbox.rows == {}
            assert_nothing_is_lost(node, proxy)
        assert node.outbox.sessions >= 4
        assert node.delivery.last_offline is not None
        assert set(node.delivery.last_offline.causes) >= {"closed"}


@pytest.mark.parametrize("how", ["cut", "reset", "mid-publish"])
async def test_a_connection_broken_in_the_middle_loses_nothing(broker: Mosquitto, how: str) -> None:
    async with reading(broker) as reader, through_a_proxy(broker) as (node, proxy), node.running():
        await node.delivery.wait_drained()
        for round_ in range(1, 6):
            connections = len(proxy.connections)
            if how == "mid-publish":
                proxy.cut_after_publishes = len(proxy.connections[-1].published) + 10
            node.commit(100)
            if how != "mid-publish":
                await until(lambda: len(node.outbox.acknowledged) % 100 > 10)
                proxy.cut() if how == "cut" else proxy.reset()
            await until(lambda n=connections: len(proxy.connections) > n)  # type: ignore[misc]
            await asyncio.wait_for(node.delivery.wait_drained(), 20)
            assert len(node.outbox.acknowledged) == 100 * round_
        assert_nothing_is_lost(node, proxy)
        await until(lambda: set(reader.seqs) == set(range(1, 501)))
        # What came twice says so.
        replayed = {
            json.loads(inbound.payload)["seq"]
            for inbound in reader.heard
            if inbound.topic == DOOR and inbound.properties.get("replay") == "1"
        }
        assert {seq for seq in reader.seqs if reader.seqs.count(seq) > 1} <= replayed


async def test_a_dead_line_is_noticed_within_two_keepalives(broker: Mosquitto) -> None:
    async with through_a_proxy(broker, keepalive_s=2) as (node, proxy), node.running():
        await node.delivery.wait_drained()
        proxy.hold()
        since = time.monotonic()
        node.commit(50)
        await until(lambda: not node.delivery.connected)
        assert time.monotonic() - since <= 4
        assert len(node.outbox.rows) == 50
        proxy.release()
        await asyncio.wait_for(node.delivery.wait_drained(), 20)
        assert_nothing_is_lost(node, proxy)
        assert node.delivery.last_offline is not None
        assert "keepalive" in node.delivery.last_offline.causes


async def test_late_acknowledgements_never_widen_the_window(broker: Mosquitto) -> None:
    async with through_a_proxy(broker, window=5) as (node, proxy):
        proxy.delay_down_s = 0.3
        node.commit(40)
        async with node.running():
            await asyncio.wait_for(node.delivery.wait_drained(), 20)
            assert proxy.most_unacknowledged == 5
            assert proxy.connections[0].packets
            assert len(proxy.connections) == 1
            assert_nothing_is_lost(node, proxy)


async def test_a_receive_maximum_of_one_is_kept(tmp_path: Path, authority: Authority) -> None:
    with Mosquitto(tmp_path, authority=authority, extra=["max_inflight_messages 1"]) as broker:
        async with through_a_proxy(broker) as (node, proxy):
            node.commit(50)
            async with node.running():
                await asyncio.wait_for(node.delivery.wait_drained(), 20)
            assert proxy.most_unacknowledged == 1
            assert_nothing_is_lost(node, proxy)


async def test_what_the_broker_denies_is_set_aside_and_the_rest_flows(broker: Mosquitto) -> None:
    async with reading(broker) as reader, through_a_proxy(broker) as (node, proxy), node.running():
        node.commit(5)
        node.outbox.commit(draft_of("forbidden/door", made=CLOCK.now()))
        node.commit(5)
        await asyncio.wait_for(node.delivery.wait_drained(), 20)
        assert [(reason, code) for _key, reason, code in node.outbox.refused] == [("refused", 0x87)]
        await until(lambda: len(reader.seqs) == 10)
        assert node.conditions["delivery"][0] == "degraded"
        assert len(proxy.connections) == 1


async def test_mosquittos_size_limit_sets_the_large_ones_aside(tmp_path: Path, authority: Authority) -> None:
    with Mosquitto(tmp_path, authority=authority, extra=["message_size_limit 1000"]) as broker:
        async with through_a_proxy(broker) as (node, proxy), node.running():
            node.commit(3)
            large = b'{"v":1,"text":"' + b"x" * 2_000 + b'"}'
            node.outbox.commit(draft_of(made=CLOCK.now(), body=large))
            node.commit(3)
            await asyncio.wait_for(node.delivery.wait_drained(), 20)
            assert node.outbox.refused == [(4, "oversize", 0x95)]
            assert len(node.outbox.acknowledged) == 6
            assert len(proxy.connections) == 1


async def test_the_will_speaks_for_a_node_that_is_cut_off_and_the_next_session_corrects_it(
    broker: Mosquitto,
) -> None:
    async with reading(broker) as reader, through_a_proxy(broker) as (node, proxy), node.running():
        await node.delivery.wait_drained()
        proxy.reset()
        await until(lambda: len(reader.states) == 3)
        assert reader.states == [("online", 1, None), ("offline", 1, "connection-lost"), ("online", 2, None)]


async def test_a_stale_state_is_overwritten_within_a_second(broker: Mosquitto) -> None:
    async with reading(broker) as reader, through_a_proxy(broker) as (node, _proxy), node.running():
        await node.delivery.wait_drained()
        stale = b'{"v":1,"state":"offline","session":0,"time":"2020-01-01T00:00:00.000Z","reason":null}'
        reader.session.publish(Publication(TOPICS.state, stale, retain=True))
        await until(lambda: reader.states.count(("online", 1, None)) == 2, within_s=1)
        assert reader.states[-1] == ("online", 1, None)


async def test_two_nodes_of_one_name_do_not_take_turns_for_ever(broker: Mosquitto) -> None:
    identity = broker.authority.issue("nano-42")
    nodes = [Node(await asyncio.to_thread(link_of, identity, broker.port)) for _ in range(2)]
    async with nodes[0].running():
        await nodes[0].delivery.wait_drained()
        async with nodes[1].running():
            await until(
                lambda: any(n.metrics.counts["link_lost_total cause=taken-over"] for n in nodes), within_s=20
            )
            told = [n.conditions["link"] for n in nodes if not n.delivery.connected]
            sentences = [str(message) for status, message in told if status == "degraded"]
            assert any("another client came with this node's name; tried again in" in s for s in sentences)
            assert any(n.conditions.get("name", ("ok", None))[0] == "degraded" for n in nodes)


async def test_a_flapping_line_is_drained_between_its_breaks(broker: Mosquitto) -> None:
    async with through_a_proxy(broker, window=5) as (node, proxy):
        proxy.delay_down_s = 0.02
        node.commit(300)
        async with node.running():
            for _ in range(5):
                before = len(node.outbox.acknowledged)
                await until(lambda n=before: len(node.outbox.acknowledged) > n)  # type: ignore[misc]
                proxy.reset()
                await until(lambda: not node.delivery.connected)
            proxy.delay_down_s = 0.0
            await asyncio.wait_for(node.delivery.wait_drained(), 20)
        assert node.outbox.rows == {}
        assert_nothing_is_lost(node, proxy)
