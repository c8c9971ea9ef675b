"""The node's own state, and who else writes it."""

import json
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from agent.domain.errors import Code
from agent.ports import Inbound
from tests.fakes.delivery_node import TOPICS, DeliveryNode, states
from tests.polling import until


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


async def test_a_stale_will_is_overwritten_within_a_second() -> None:
    node = DeliveryNode()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        stale = json.dumps({"v": 1, "state": "offline", "session": 0, "time": "", "reason": None}).encode()
        session.say(Inbound(TOPICS.state, stale, False, None, {}))
        await until(lambda: len(states(session)) == 2, within_s=1.0)
        assert states(session)[1]["state"] == "online"
        assert node.inbound == []


async def test_two_that_overwrite_each_other_do_not_shout() -> None:
    node = DeliveryNode()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        for _ in range(50):
            session.say(Inbound(TOPICS.state, b"{}", False, None, {}))
        await until(lambda: len(states(session)) == 2)
        await node.delivery.wait_drained()
        assert len(states(session)) == 2


async def test_the_retained_state_of_an_earlier_session_is_no_overwriting() -> None:
    node = DeliveryNode()
    node.link.greeting.append(Inbound(TOPICS.state, b"{}", True, None, {}))
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert len(states(session)) == 1


async def test_a_take_over_is_told_and_backs_off_for_a_minute() -> None:
    node = DeliveryNode()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        session.close("taken-over", "another client came with our name")
        await until(lambda: node.conditions["link"][0] == "degraded")
        assert node.conditions["link"][1] == Code.REFUSED
        assert len(node.link.attempts) == 1
        assert node.metrics.counts["link_lost_total cause=taken-over"] == 1


async def test_a_take_over_that_the_broker_hides_is_known_by_the_rivals_state() -> None:
    node = DeliveryNode()
    async with node.running():
        first = await node.session()
        await node.delivery.wait_drained()
        node.clock.advance(5)
        rival = {"v": 1, "state": "offline", "session": 3, "time": "2100-01-01T00:00:00.000Z", "reason": None}
        node.link.greeting.append(Inbound(TOPICS.state, json.dumps(rival).encode(), True, None, {}))
        first.close()
        second = await node.session(2)
        await node.delivery.wait_drained()
        second.close()
        await until(lambda: node.metrics.counts["link_lost_total cause=taken-over"] == 1)
        assert node.conditions["link"][0] == "degraded"


async def test_other_messages_go_to_whom_they_concern() -> None:
    node = DeliveryNode(subscriptions=[TOPICS.below("config/desired")])
    desired = Inbound(TOPICS.below("config/desired"), b"{}", True, None, {})
    node.link.greeting.append(desired)
    async with node.running():
        await until(lambda: bool(node.inbound))
        assert node.inbound == [desired]
