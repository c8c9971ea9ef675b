"""Delivery against a broker in memory: sessions, birth, drain, refusals, outages and farewells."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from agent.contract.payloads import LastOffline
from agent.contract.topics import Topics
from agent.domain.errors import Code, TransientError
from agent.pipeline.announcements import Announcements
from agent.pipeline.delivery import Delivery
from agent.pipeline.supervise import Ticks
from agent.ports import Draft, Inbound, Limits, Publication, Status
from tests.fakes.clock import FakeClock
from tests.fakes.link import FakeLink, FakeSession
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import EPOCH, FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until

TOPICS = Topics("plant", "nano-42")
DOOR = TOPICS.below("detections/door")
INFO = Publication(TOPICS.info, b"info", retain=True)
HEALTH = Publication(TOPICS.health, b"ok", retain=True)


class Node:
    """A delivery stage and everything around it."""

    def __init__(
        self, *, clock: FakeClock | None = None, outbox: FakeOutbox | None = None, **settings: Any
    ) -> None:
        self.clock = clock or FakeClock()
        self.link = FakeLink(clock=self.clock)
        self.outbox = outbox or FakeOutbox(clock=self.clock)
        self.announcements = Announcements()
        self.metrics = FakeMetrics()
        self.conditions: dict[str, tuple[Status, str | None, str | None]] = {}
        self.inbound: list[Inbound] = []
        self.offline: list[LastOffline | None] = []
        self.delivery = Delivery(
            link=self.link,
            outbox=self.outbox,
            announcements=self.announcements,
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            topics=TOPICS,
            **{
                "window": 20,
                "keepalive_s": 20,
                "random": Random(1),
                "on_condition": self._note,
                "on_inbound": self.inbound.append,
                "on_connected": self.offline.append,
                "backoff_base_s": 0.01,
                "backoff_cap_s": 0.02,
                **settings,
            },
        )

    def _note(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        self.conditions[who] = (status, code, message)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        """Runs in a task of its own, and is stopped at the end unless the test did it."""
        task = asyncio.create_task(self.delivery.run(), name="delivery")
        try:
            yield self
        finally:
            if not task.done():
                self.delivery.stop(reason="test", within_s=3)
            await asyncio.wait_for(task, 5)

    def draft(self, **kwargs: Any) -> Draft:
        return draft_of(made=self.clock.now(), **kwargs)

    def commit(self, count: int = 1, **kwargs: Any) -> list[int]:
        return [self.outbox.commit(self.draft(**kwargs)).key for _ in range(count)]

    async def session(self, number: int = 1) -> FakeSession:
        await until(lambda: len(self.link.sessions) >= number)
        return self.link.sessions[number - 1]


def states(session: FakeSession) -> list[dict[str, Any]]:
    return [json.loads(s.publication.payload) for s in session.sent if s.publication.topic == TOPICS.state]


def seqs(session: FakeSession, topic: str = DOOR) -> list[int]:
    return [json.loads(s.publication.payload)["seq"] for s in session.sent if s.publication.topic == topic]


def replays(session: FakeSession) -> list[str | None]:
    return [s.publication.properties.get("replay") for s in session.sent if s.publication.topic == DOOR]


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


# --- a session's birth ------------------------------------------------------------------------------


async def test_a_session_is_numbered_before_connect_and_the_will_carries_the_number() -> None:
    node = Node()
    node.outbox.sessions = 16
    async with node.running():
        session = await node.session()
        assert node.outbox.sessions == 17
        assert session.will.topic == TOPICS.state
        assert session.will.retain
        will = json.loads(session.will.payload)
        assert (will["state"], will["session"]) == ("offline", 17)
        assert node.delivery.session == 17


async def test_birth_is_subscription_then_retained_topics_then_online_then_rows() -> None:
    node = Node(subscriptions=[TOPICS.below("config/desired")])
    node.announcements.retain(INFO)
    node.announcements.retain(HEALTH)
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.subscribed == [(TOPICS.state, True), (TOPICS.below("config/desired"), True)]
        topics = [sent.publication.topic for sent in session.sent]
        assert topics == [TOPICS.info, TOPICS.health, TOPICS.state, DOOR]
        assert states(session)[0]["state"] == "online"


async def test_what_is_retained_on_connecting_is_part_of_the_birth() -> None:
    node = Node()
    node.link.failures.append(TransientError("no way", code=Code.NETWORK, path="tcp"))

    def tell(last_offline: LastOffline | None) -> None:
        assert last_offline is not None
        node.announcements.retain(Publication(TOPICS.info, str(last_offline.causes).encode(), retain=True))

    node.delivery._on_connected = tell
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.sent[0].publication.payload == b"{'tcp': 1}"


async def test_a_refused_subscription_does_not_silence_the_node() -> None:
    node = Node(subscriptions=[TOPICS.below("config/desired")])
    node.link.refused_topics = frozenset({TOPICS.below("config/desired")})
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [1]
        assert node.conditions["delivery"][0] == "degraded"


# --- drain ------------------------------------------------------------------------------------------


async def test_rows_leave_the_outbox_once_they_are_acknowledged() -> None:
    node = Node()
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit(3)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 3)
        assert len(node.outbox.rows) == 3
        for sent in session.sent[1:]:
            session.acknowledge(sent.ticket)
        await until(lambda: not node.outbox.rows)
        await node.delivery.wait_drained()
        assert node.outbox.acknowledged == [1, 2, 3]


async def test_a_row_goes_out_with_its_sequence_and_what_is_left_of_its_expiry() -> None:
    node = Node()
    node.commit(expiry_s=100)
    node.clock.advance(30)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        sent = next(s.publication for s in session.sent if s.publication.topic == DOOR)
        assert json.loads(sent.payload)["epoch"] == EPOCH
        assert sent.expiry_s == 70


async def test_a_large_backlog_drains_completely_in_order_and_never_exceeds_the_window() -> None:
    node = Node(window=7, batch=32)
    node.commit(1_000)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == list(range(1, 1_001))
        assert session.most_in_flight <= 7
        assert node.outbox.rows == {}
        assert node.delivery.statistics().acknowledged == 1_000


async def test_the_brokers_receive_maximum_bounds_the_window() -> None:
    node = Node(window=20)
    node.link.limits = Limits(receive_maximum=1, maximum_packet_size=None, server_keep_alive_s=None)
    node.announcements.retain(INFO)
    node.commit(20)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.most_in_flight == 1
        assert seqs(session) == list(range(1, 21))


async def test_rows_committed_while_connected_go_out_at_once() -> None:
    node = Node()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        node.commit(5)
        await until(lambda: len(node.outbox.acknowledged) == 5)
        assert seqs(session) == [1, 2, 3, 4, 5]
        assert replays(session) == [None] * 5


async def test_an_event_overtakes_a_backlog_of_detections() -> None:
    node = Node(window=2, batch=8)
    node.link.answer = lambda _publication: None
    async with node.running():
        session = await node.session()
        session.acknowledge(1)
        node.commit(100)
        await until(lambda: len(seqs(session)) == 2)
        node.commit(stream="events/crowd", priority="event")
        await until(lambda: len(node.outbox.fetches) > 1 and node.outbox.fetches[-1][0]["detection"] > 0)
        await asyncio.sleep(0)
        session.acknowledge(session.sent[-1].ticket)
        await until(lambda: session.sent[-1].publication.topic != DOOR)
        assert session.sent[-1].publication.topic == TOPICS.below("events/crowd")


async def test_changes_and_remarks_are_not_starved_by_the_backlog() -> None:
    node = Node(window=2, batch=8)
    node.link.answer = lambda _publication: None
    node.commit(100)
    async with node.running():
        session = await node.session()
        session.acknowledge(1)
        await until(lambda: len(seqs(session)) == 2)
        node.announcements.remark(Publication(TOPICS.heartbeat, b"beat", qos=0))
        node.announcements.retain(HEALTH)
        await until(lambda: session.sent[-1].publication.topic == TOPICS.heartbeat)
        session.acknowledge(session.sent[1].ticket)
        await until(lambda: session.sent[-1].publication.topic == TOPICS.health)
        assert session.most_in_flight <= 2


async def test_latency_is_measured_from_capture_to_ack() -> None:
    node = Node()
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    async with node.running():
        session = await node.session()
        captured = node.clock.now()
        node.clock.advance(0.5)
        node.outbox.commit(node.draft(captured=captured))
        node.clock.advance(0.25)
        await until(lambda: len(seqs(session)) == 1)
        node.clock.advance(1)
        session.acknowledge(session.sent[-1].ticket)
        await until(lambda: bool(node.outbox.acknowledged))
        observed = node.metrics.observed
        assert observed["capture_to_ack_seconds"] == [pytest.approx(1.75)]
        assert observed["stage_seconds stage=ack"] == [pytest.approx(1.0)]
        assert observed["stage_seconds stage=publish"] == [pytest.approx(0.25)]


async def test_a_row_of_an_earlier_boot_is_not_measured_and_says_replay() -> None:
    clock = FakeClock()
    outbox = FakeOutbox(clock=clock)
    outbox.commit(draft_of(made=clock.now(), captured=clock.now()))
    clock.boot = "b0074b00-0000-4000-8000-000000000002"
    node = Node(clock=clock, outbox=outbox)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert replays(session) == ["1"]
        assert "capture_to_ack_seconds" not in node.metrics.observed


# --- what the broker answers ------------------------------------------------------------------------


async def test_nobody_subscribing_is_success_and_counted() -> None:
    node = Node()
    node.link.answer = lambda _publication: 0x10
    node.commit(3)
    async with node.running():
        await node.delivery.wait_drained()
        await until(lambda: not node.outbox.rows)
        assert node.delivery.statistics().unheard == 3


@pytest.mark.parametrize(
    ("code", "reason"), [(0x87, "refused"), (0x90, "refused"), (0x99, "refused"), (0x95, "oversize")]
)
async def test_a_refused_row_is_set_aside_and_the_rest_flows(code: int, reason: str) -> None:
    node = Node()
    node.link.answer = lambda publication: code if b'"seq":2,' in publication.payload else 0
    node.commit(3)
    async with node.running():
        await node.delivery.wait_drained()
        assert node.outbox.refused == [(2, reason, code)]
        assert node.outbox.acknowledged == [1, 3]
        status, _, message = node.conditions["delivery"]
        assert status == "degraded"
        assert message is not None
        assert "detections/door" in message
        assert node.delivery.statistics().refused == 1


async def test_health_forgets_a_refusal_after_a_minute_without_another() -> None:
    node = Node()
    node.link.answer = lambda publication: 0x87 if publication.topic == DOOR else 0
    node.commit()
    async with node.running():
        await until(lambda: "delivery" in node.conditions)
        node.clock.advance(61)
        await until(lambda: node.conditions["delivery"][0] == "ok")
        assert len(node.outbox.refused) == 1


async def test_a_refused_announcement_is_told_and_does_not_stop_the_rows() -> None:
    node = Node()
    node.announcements.retain(INFO)
    node.link.answer = lambda publication: 0x87 if publication.topic == TOPICS.info else 0
    node.commit()
    async with node.running():
        await node.delivery.wait_drained()
        assert node.outbox.acknowledged == [1]
        assert TOPICS.info in str(node.conditions["delivery"][2])


async def test_a_row_above_the_configured_size_is_never_sent() -> None:
    node = Node(max_message_bytes=100)
    node.commit(body=b'{"v":1,' + b'"x":"' + b"x" * 100 + b'"}')
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [2]
        assert node.outbox.refused == [(1, "oversize", 0x95)]


async def test_a_row_above_the_brokers_packet_size_is_never_sent() -> None:
    node = Node()
    node.link.limits = Limits(receive_maximum=10, maximum_packet_size=150, server_keep_alive_s=None)
    node.commit(body=b'{"v":1,' + b'"x":"' + b"x" * 150 + b'"}')
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [2]
        assert node.outbox.refused == [(1, "oversize", 0x95)]


@pytest.mark.parametrize("code", [0x97, 0x80, 0x83])
async def test_a_row_that_the_broker_cannot_take_now_goes_out_later(code: int) -> None:
    node = Node()
    codes = [code]
    node.link.answer = lambda publication: codes.pop() if publication.topic == DOOR and codes else 0
    node.commit(2)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 2)
        assert len(node.outbox.rows) == 1
        node.clock.advance(2)
        await until(lambda: not node.outbox.rows)
        assert seqs(session) == [1, 2, 1]
        assert node.outbox.refused == []
        assert node.delivery.statistics().retried == 1


# --- outages ----------------------------------------------------------------------------------------


async def test_what_was_not_acknowledged_is_sent_again_and_says_replay() -> None:
    node = Node(window=3)
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
    node = Node(clock=clock, outbox=outbox)
    async with node.running():
        node.commit()
        session = await node.session()
        await node.delivery.wait_drained()
        assert replays(session) == ["1", None]


async def test_attempts_go_on_until_the_broker_is_there_and_their_causes_are_told() -> None:
    node = Node()
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
    node = Node()
    for cause in ("dns", "tcp", "tcp"):
        node.link.failures.append(TransientError("no", code=Code.NETWORK, path=cause))
    node.link.failures.append(TransientError("no", code=Code.TIMEOUT, path="timeout"))
    async with node.running():
        await node.session()
        numbers = [json.loads(will.payload)["session"] for will in node.link.attempts]
        assert numbers == [1, 1, 1, 1, 2]


async def test_health_says_why_there_is_no_broker() -> None:
    node = Node(backoff_base_s=60, backoff_cap_s=60)
    node.link.failures.append(TransientError("the certificate is expired", code=Code.TLS, path="tls"))
    async with node.running():
        await until(lambda: "link" in node.conditions)
        assert node.conditions["link"] == ("degraded", Code.TLS, "the certificate is expired")
        assert not node.delivery.connected


async def test_rows_committed_during_an_outage_wait_for_its_end() -> None:
    node = Node()
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
    node = Node(ack_timeout_s=60)
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


# --- the node's own state ---------------------------------------------------------------------------


async def test_a_stale_will_is_overwritten_within_a_second() -> None:
    node = Node()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        stale = json.dumps({"v": 1, "state": "offline", "session": 0, "time": "", "reason": None}).encode()
        session.say(Inbound(TOPICS.state, stale, False, None, {}))
        await until(lambda: len(states(session)) == 2, within_s=1.0)
        assert states(session)[1]["state"] == "online"
        assert node.inbound == []


async def test_two_that_overwrite_each_other_do_not_shout() -> None:
    node = Node()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        for _ in range(50):
            session.say(Inbound(TOPICS.state, b"{}", False, None, {}))
        await until(lambda: len(states(session)) == 2)
        await node.delivery.wait_drained()
        assert len(states(session)) == 2


async def test_the_retained_state_of_an_earlier_session_is_no_overwriting() -> None:
    node = Node()
    node.link.greeting.append(Inbound(TOPICS.state, b"{}", True, None, {}))
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert len(states(session)) == 1


async def test_a_take_over_is_told_and_backs_off_for_a_minute() -> None:
    node = Node()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        session.close("taken-over", "another client came with our name")
        await until(lambda: node.conditions["link"][0] == "degraded")
        assert node.conditions["link"][1] == Code.REFUSED
        assert len(node.link.attempts) == 1
        assert node.metrics.counts["link_lost_total cause=taken-over"] == 1


async def test_a_take_over_that_the_broker_hides_is_known_by_the_rivals_state() -> None:
    node = Node()
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
    node = Node(subscriptions=[TOPICS.below("config/desired")])
    desired = Inbound(TOPICS.below("config/desired"), b"{}", True, None, {})
    node.link.greeting.append(desired)
    async with node.running():
        await until(lambda: bool(node.inbound))
        assert node.inbound == [desired]


# --- the end ----------------------------------------------------------------------------------------


async def test_an_ordered_stop_drains_says_offline_and_disconnects() -> None:
    node = Node(window=2)
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


async def test_a_stop_that_cannot_drain_still_says_offline_by_its_deadline() -> None:
    node = Node(window=2)
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit(5)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 2)
        node.delivery.stop(reason="signal", within_s=3.2)
        await until(lambda: session.left, within_s=3.2)
        farewell = session.sent[-1].publication
        assert json.loads(farewell.payload)["state"] == "offline"
        # The window is full of what is not acknowledged, and QoS 0 does not count in it.
        assert farewell.qos == 0
        assert session.most_in_flight == 2
        assert len(node.outbox.rows) == 5


@pytest.mark.parametrize("hanging", [True, False], ids=["connecting", "backing off"])
async def test_a_stop_without_a_broker_ends_at_once(hanging: bool) -> None:
    node = Node(backoff_base_s=60, backoff_cap_s=60)
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
    node = Node()

    async def broken() -> int:
        raise RuntimeError("a mistake in the outbox")

    node.outbox.next_session = broken  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as raised:
        await node.delivery.run()
    assert raised.group_contains(RuntimeError, match="a mistake in the outbox")
