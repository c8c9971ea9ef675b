"""Delivery's sessions: birth, outages, and the end."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from agent.contract.payloads import LastOffline
from agent.domain.errors import Code, TransientError
from agent.ports import Publication
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_node import DOOR, HEALTH, INFO, TOPICS, DeliveryNode, replays, seqs, states
from tests.fakes.outbox import FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


# --- a session's birth ------------------------------------------------------------------------------


async def test_a_session_is_numbered_before_connect_and_the_will_carries_the_number() -> None:
    node = DeliveryNode()
    node.outbox.sessions = 16
    async with node.running():
        session = await node.session()
        assert node.outbox.sessions == 17
        assert session.will.topic == TOPICS.state
        assert session.will.retain
        will = json.loads(session.will.payload)
        assert (will["state"], will["session"]) == ("offline", 17)
        assert node.delivery.session == 17


async def test_commands_are_subscribed_so_that_they_say_how_they_were_published() -> None:
    node = DeliveryNode(subscriptions=[TOPICS.commands, TOPICS.desired, TOPICS.acks])
    async with node.running():
        session = await node.session()
        await until(lambda: bool(session.subscribed))
        assert session.as_published == {TOPICS.commands}


async def test_birth_is_subscription_then_retained_topics_then_online_then_rows() -> None:
    node = DeliveryNode(subscriptions=[TOPICS.below("config/desired")])
    node.announcements.retain(INFO)
    node.announcements.retain(HEALTH)
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.subscribed == [(TOPICS.state, True), (TOPICS.below("config/desired"), True)]
        assert not session.as_published
        topics = [sent.publication.topic for sent in session.sent]
        assert topics == [TOPICS.info, TOPICS.health, TOPICS.state, DOOR]
        assert states(session)[0]["state"] == "online"


async def test_what_is_retained_on_connecting_is_part_of_the_birth() -> None:
    def tell(last_offline: LastOffline | None) -> None:
        assert last_offline is not None
        node.announcements.retain(Publication(TOPICS.info, str(last_offline.causes).encode(), retain=True))

    node = DeliveryNode(on_connected=tell)
    node.link.failures.append(TransientError("no way", code=Code.NETWORK, path="tcp"))
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.sent[0].publication.payload == b"{'tcp': 1}"


async def test_a_refused_subscription_does_not_silence_the_node() -> None:
    node = DeliveryNode(subscriptions=[TOPICS.below("config/desired")])
    node.link.refused_topics = frozenset({TOPICS.below("config/desired")})
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [1]
        assert node.conditions["subscriptions"][0] == "degraded"

        node.link.refused_topics = frozenset()
        session.close()
        await until(lambda: node.conditions["subscriptions"][0] == "ok")


# --- outages ----------------------------------------------------------------------------------------


async def test_what_was_not_acknowledged_is_sent_again_and_says_replay() -> None:
    node = DeliveryNode(window=3)
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    async with node.running():
        first = await node.session()
        node.commit(5)
        await until(lambda: len(seqs(first)) == 3)
        first.acknowledge(first.sent[1].ticket)
        await until(lambda: len(seqs(first)) == 4)
        node.link.answer = lambda _publication: 0
        first.close()
        second = await node.session(2)
        await until(lambda: not node.outbox.rows)
        assert seqs(second) == [2, 3, 4, 5]
        assert replays(second) == ["1", "1", "1", None]
        assert states(second)[0]["session"] == 2


async def test_a_row_of_an_earlier_process_says_replay() -> None:
    clock = FakeClock()
    outbox = FakeOutbox(clock=clock)
    outbox.commit(draft_of(made=clock.now()))
    clock.advance(5)
    node = DeliveryNode(clock=clock, outbox=outbox)
    async with node.running():
        node.commit()
        session = await node.session()
        await node.delivery.wait_drained()
        assert replays(session) == ["1", None]


async def test_attempts_go_on_until_the_broker_is_there_and_their_causes_are_told() -> None:
    node = DeliveryNode()
    for cause in ("dns", "tcp", "tcp", "tls", "refused"):
        node.link.failures.append(TransientError(f"{cause}!", code=Code.NETWORK, path=cause))
    async with node.running():
        await node.session()
        await node.delivery.wait_connected()
        assert node.offline[-1] is not None
        assert node.offline[-1].causes == {"dns": 1, "tcp": 2, "tls": 1, "refused": 1}
        assert node.delivery.last_offline == node.offline[-1]
        assert node.conditions["link"] == ("ok", None, None)


async def test_a_number_that_nobody_has_seen_is_used_again() -> None:
    node = DeliveryNode()
    for cause in ("dns", "tcp", "tcp"):
        node.link.failures.append(TransientError("no", code=Code.NETWORK, path=cause))
    node.link.failures.append(TransientError("no", code=Code.TIMEOUT, path="timeout"))
    async with node.running():
        await node.session()
        numbers = [json.loads(will.payload)["session"] for will in node.link.attempts]
        assert numbers == [1, 1, 1, 1, 2]


async def test_health_says_why_there_is_no_broker() -> None:
    node = DeliveryNode(backoff_base_s=60, backoff_cap_s=60)
    node.link.failures.append(TransientError("the certificate is expired", code=Code.TLS, path="tls"))
    async with node.running():
        await until(lambda: "link" in node.conditions)
        assert node.conditions["link"] == ("degraded", Code.TLS, "the certificate is expired")
        assert not node.delivery.connected


async def test_rows_committed_during_an_outage_wait_for_its_end() -> None:
    node = DeliveryNode()
    async with node.running():
        first = await node.session()
        await node.delivery.wait_drained()
        node.link.gate.clear()
        first.close("keepalive", "no sign of life")
        await until(lambda: not node.delivery.connected)
        node.commit(10)
        node.announcements.remark(Publication(TOPICS.heartbeat, b"beat", qos=0))
        node.link.gate.set()
        second = await node.session(2)
        await node.delivery.wait_drained()
        assert seqs(second) == list(range(1, 11))
        assert replays(second) == [None] * 10
        assert TOPICS.heartbeat not in [sent.publication.topic for sent in second.sent]
        assert node.delivery.last_offline is not None
        assert node.delivery.last_offline.causes == {"keepalive": 1}


async def test_a_broker_that_never_acknowledges_is_left() -> None:
    node = DeliveryNode(ack_timeout_s=60)
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit()
    async with node.running():
        first = await node.session()
        await until(lambda: len(seqs(first)) == 1)
        node.link.answer = lambda _publication: 0
        node.clock.advance(61)
        await node.session(2)
        await until(lambda: not node.outbox.rows)
        assert first.left
        assert node.delivery.last_offline is not None
        assert node.delivery.last_offline.causes == {"timeout": 1}


async def test_after_a_long_outage_what_is_new_goes_at_once_and_the_backlog_after_a_while() -> None:
    node = DeliveryNode(batch=512)
    async with node.running():
        first = await node.session()
        await node.delivery.wait_drained()
        node.link.gate.clear()
        first.close()
        await until(lambda: not node.delivery.connected)
        node.commit(1_500)
        node.clock.advance(720)
        node.link.gate.set()
        second = await node.session(2)
        node.commit()
        await until(lambda: seqs(second) == [1_501])
        node.commit()
        await until(lambda: seqs(second) == [1_501, 1_502])
        node.clock.advance(31)
        await until(lambda: not node.outbox.rows)
        assert seqs(second) == [1_501, 1_502, *range(1, 1_501)]


@pytest.mark.parametrize(("away_s", "sent"), [(9, [2, 6, 7, 8]), (11, [2, 8])], ids=["short", "long"])
async def test_what_comes_in_a_short_break_goes_at_once_and_in_a_long_one_with_the_backlog(
    away_s: float, sent: list[int]
) -> None:
    """Of the backlog one row a second may go, of which none passes but in the break."""
    node = DeliveryNode(backlog_per_s=1.0)
    node.commit(5)
    async with node.running():
        first = await node.session()
        await until(lambda: node.outbox.acknowledged == [1])
        node.link.gate.clear()
        first.close()
        await until(lambda: not node.delivery.connected)
        node.commit(2)
        node.clock.advance(away_s)
        node.link.gate.set()
        second = await node.session(2)
        await until(lambda: bool(seqs(second)))
        node.commit()
        await until(lambda: 8 in seqs(second) and len(seqs(second)) >= len(sent))
        assert sorted(seqs(second)) == sent


# --- the end ----------------------------------------------------------------------------------------


async def test_an_ordered_stop_drains_says_offline_and_disconnects() -> None:
    node = DeliveryNode(window=2)
    async with node.running():
        session = await node.session()
        node.commit(50)
        node.delivery.stop(reason="signal", within_s=5)
        await until(lambda: session.left)
        assert seqs(session) == list(range(1, 51))
        assert session.sent[-1].publication.topic == TOPICS.state
        last = states(session)[-1]
        assert (last["state"], last["reason"], last["session"]) == ("offline", "signal", 1)
        assert session.sent[-1].publication.retain
        assert node.outbox.rows == {}


async def test_a_stop_waits_for_acknowledgements_while_there_is_time() -> None:
    node = DeliveryNode()
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit(5)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 5)
        node.delivery.stop(reason="signal", within_s=4)
        await until(lambda: node.delivery.connected)
        said_early = len(states(session)) > 1
        for sent in session.sent[1:]:
            session.acknowledge(sent.ticket)
        await until(lambda: session.left)
        assert (said_early, node.outbox.rows) == (False, {})
        assert states(session)[-1]["state"] == "offline"


async def test_a_stop_that_cannot_drain_still_says_offline_by_its_deadline() -> None:
    node = DeliveryNode(window=2)
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit(5)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 2)
        node.delivery.stop(reason="signal", within_s=1)
        await until(lambda: session.left, within_s=1)
        farewell = session.sent[-1].publication
        assert json.loads(farewell.payload)["state"] == "offline"
        # The window is full of what is not acknowledged, and QoS 0 does not count in it.
        assert farewell.qos == 0
        assert session.most_in_flight == 2
        assert len(node.outbox.rows) == 5


@pytest.mark.parametrize("hanging", [True, False], ids=["connecting", "backing off"])
async def test_a_stop_without_a_broker_ends_at_once(hanging: bool) -> None:
    node = DeliveryNode(backoff_base_s=60, backoff_cap_s=60)
    if hanging:
        node.link.gate.clear()
    else:
        node.link.failures.append(TransientError("no", code=Code.NETWORK, path="tcp"))
    node.commit()
    task = asyncio.create_task(node.delivery.run(), name="delivery")
    await until(lambda: len(node.link.attempts) == 1)
    node.delivery.stop(reason="signal", within_s=10)
    await asyncio.wait_for(task, 1)
    assert node.link.sessions == []
    assert len(node.outbox.rows) == 1


async def test_a_stage_that_fails_ends_with_its_error() -> None:
    node = DeliveryNode()

    async def broken() -> int:
        raise RuntimeError("a mistake in the outbox")

    node.outbox.next_session = broken  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as raised:
        await node.delivery.run()
    assert raised.group_contains(RuntimeError, match="a mistake in the outbox")


async def test_an_outbox_that_cannot_count_a_session_is_waited_for() -> None:
    node = DeliveryNode()
    count = node.outbox.next_session
    broken = [TransientError("the disk is full", code=Code.DISK)]

    async def next_session() -> int:
        if broken:
            raise broken.pop()
        return await count()

    node.outbox.next_session = next_session  # type: ignore[method-assign]
    async with node.running():
        await node.session()
        assert node.delivery.last_offline is not None
        assert node.delivery.last_offline.causes == {Code.DISK: 1}
