"""Delivery's drain: what goes out when, and what becomes of it."""

import asyncio
import json
from collections.abc import Iterator, Mapping

import pytest
from blockbuster import blockbuster_ctx

from agent.domain.errors import Code, TransientError
from agent.ports import Limits, Priority, Publication, Row
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_node import DOOR, HEALTH, INFO, TOPICS, DeliveryNode, replays, seqs
from tests.fakes.outbox import EPOCH, FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


# --- drain ------------------------------------------------------------------------------------------


async def test_rows_leave_the_outbox_once_they_are_acknowledged() -> None:
    node = DeliveryNode()
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
    node = DeliveryNode()
    node.commit(expiry_s=100)
    node.clock.advance(30)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        sent = next(s.publication for s in session.sent if s.publication.topic == DOOR)
        assert json.loads(sent.payload)["epoch"] == EPOCH
        assert sent.expiry_s == 70


async def test_a_large_backlog_drains_completely_in_order_and_never_exceeds_the_window() -> None:
    node = DeliveryNode(window=7, batch=32)
    node.commit(1_000)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == list(range(1, 1_001))
        assert session.most_in_flight <= 7
        assert node.outbox.rows == {}
        assert node.delivery.statistics().acknowledged == 1_000


async def test_the_brokers_receive_maximum_bounds_the_window() -> None:
    node = DeliveryNode(window=20)
    node.link.limits = Limits(receive_maximum=1, maximum_packet_size=None, server_keep_alive_s=None)
    node.announcements.retain(INFO)
    node.commit(20)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert session.most_in_flight == 1
        assert seqs(session) == list(range(1, 21))


async def test_rows_committed_while_connected_go_out_at_once() -> None:
    node = DeliveryNode()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        node.commit(5)
        await until(lambda: len(node.outbox.acknowledged) == 5)
        assert seqs(session) == [1, 2, 3, 4, 5]
        assert replays(session) == [None] * 5


async def test_an_event_overtakes_a_backlog_of_detections() -> None:
    node = DeliveryNode(window=2, batch=8)
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
    node = DeliveryNode(window=2, batch=8)
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
    node = DeliveryNode()
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
    node = DeliveryNode(clock=clock, outbox=outbox)
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert replays(session) == ["1"]
        assert "capture_to_ack_seconds" not in node.metrics.observed


# --- what the broker answers ------------------------------------------------------------------------


async def test_nobody_subscribing_is_success_and_counted() -> None:
    node = DeliveryNode()
    node.link.answer = lambda _publication: 0x10
    node.commit(3)
    async with node.running():
        await node.delivery.wait_drained()
        await until(lambda: not node.outbox.rows)
        assert node.delivery.statistics().unheard == 3
        await until(lambda: "subscribers" in node.conditions)
        status, _, message = node.conditions["subscribers"]
        assert (status, "detections/door" in str(message)) == ("waiting", True)

        node.link.session.answer = lambda _publication: 0
        node.commit()
        await until(lambda: node.conditions["subscribers"][0] == "ok")


async def test_an_exceeded_quota_is_not_hammered_with_the_rest_of_a_backlog() -> None:
    node = DeliveryNode(window=4)
    node.link.answer = lambda publication: 0x97 if publication.topic == DOOR else 0
    node.commit(200)
    async with node.running():
        session = await node.session()
        await until(lambda: node.delivery.statistics().retried == 4)
        for _ in range(5):
            before = len(seqs(session))
            node.clock.advance(64)
            await until(lambda n=before: len(seqs(session)) == n + 1)  # type: ignore[misc]
        assert len(seqs(session)) <= 4 + 5
        session.answer = lambda _publication: 0
        node.clock.advance(64)
        await until(lambda: not node.outbox.rows)
        assert node.outbox.refused == []


async def test_what_the_node_says_of_itself_has_no_configured_limit() -> None:
    node = DeliveryNode(max_message_bytes=100)
    node.announcements.retain(Publication(TOPICS.info, b"x" * 5_000, retain=True))
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert TOPICS.info in [sent.publication.topic for sent in session.sent]
        assert "delivery" not in node.conditions


@pytest.mark.parametrize(
    ("code", "reason"), [(0x87, "refused"), (0x90, "refused"), (0x99, "refused"), (0x95, "oversize")]
)
async def test_a_refused_row_is_set_aside_and_the_rest_flows(code: int, reason: str) -> None:
    node = DeliveryNode()
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
    node = DeliveryNode()
    node.link.answer = lambda publication: 0x87 if publication.topic == DOOR else 0
    node.commit()
    async with node.running():
        await until(lambda: "delivery" in node.conditions)
        node.clock.advance(61)
        await until(lambda: node.conditions["delivery"][0] == "ok")
        assert len(node.outbox.refused) == 1


async def test_a_refused_announcement_is_told_and_does_not_stop_the_rows() -> None:
    node = DeliveryNode()
    node.announcements.retain(INFO)
    node.link.answer = lambda publication: 0x87 if publication.topic == TOPICS.info else 0
    node.commit()
    async with node.running():
        await node.delivery.wait_drained()
        assert node.outbox.acknowledged == [1]
        assert TOPICS.info in str(node.conditions["delivery"][2])


async def test_a_row_above_the_configured_size_is_never_sent() -> None:
    node = DeliveryNode(max_message_bytes=100)
    node.commit(body=b'{"v":1,' + b'"x":"' + b"x" * 100 + b'"}')
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [2]
        assert node.outbox.refused == [(1, "oversize", 0x95)]


async def test_a_row_above_the_brokers_packet_size_is_never_sent() -> None:
    node = DeliveryNode()
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
    node = DeliveryNode()
    codes = [code]
    node.link.answer = lambda publication: codes.pop() if publication.topic == DOOR and codes else 0
    node.commit(2)
    async with node.running():
        session = await node.session()
        await until(lambda: len(node.outbox.rows) == 1)
        node.clock.advance(2)
        await until(lambda: not node.outbox.rows)
        assert seqs(session) == [1, 2, 1]
        assert node.outbox.refused == []
        assert node.delivery.statistics().retried == 1


async def test_a_row_that_no_packet_can_hold_is_set_aside() -> None:
    node = DeliveryNode()
    node.commit(body=b"no message of a stream")
    node.commit()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        assert seqs(session) == [2]
        assert node.outbox.refused == [(1, "refused", None)]


async def test_an_outbox_that_cannot_be_read_is_tried_again() -> None:
    node = DeliveryNode()
    fetch = node.outbox.fetch
    broken = [TransientError("the disk does not answer", code=Code.DISK)]

    async def fetch_or_fail(*, after: Mapping[Priority, int], limit: int) -> list[Row]:
        if broken:
            raise broken.pop()
        return await fetch(after=after, limit=limit)

    node.outbox.fetch = fetch_or_fail  # type: ignore[method-assign]
    node.commit()
    async with node.running():
        await until(lambda: node.conditions.get("delivery", ("ok",))[0] == "failed")
        await node.delivery.wait_drained()
        assert node.outbox.acknowledged == [1]
        assert node.conditions["delivery"][0] == "ok"
