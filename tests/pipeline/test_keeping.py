"""What a consumer says of its storing, and what it asks for."""

import json

import pytest
from structlog.testing import capture_logs

from agent.domain.ids import Stream
from agent.pipeline.keeping import Keeping
from agent.ports import Inbound, KeepUntil
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_node import TOPICS, DeliveryNode, replays, seqs
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.fakes.rows import draft_of
from tests.polling import until as wait_until

DOOR = Stream("detections/door")


class Rig:
    """A keeping on a fake outbox that keeps until stored, with `rows` at the broker."""

    def __init__(self, *, until: KeepUntil = "stored", rows: int = 5) -> None:
        self.clock = FakeClock()
        self.metrics = FakeMetrics()
        self.outbox = FakeOutbox(clock=self.clock, topics=TOPICS)
        self.outbox.keep(until)
        self.freed = 0
        self.keeping = Keeping(
            until=until,
            outbox=self.outbox,
            topics=TOPICS,
            clock=self.clock,
            metrics=self.metrics,
            on_sendable=self._on_sendable,
        )
        self.rows = [self.outbox.commit(draft_of(made=self.clock.now())) for _ in range(rows)]
        self.outbox.acknowledge([row.key for row in self.rows])

    def _on_sendable(self) -> None:
        self.freed += 1

    def say(self, payload: bytes, *, topic: str = "ack/detections/door") -> None:
        self.keeping.receive(
            Inbound(TOPICS.below(topic), payload, retained=True, expiry_s=None, properties={})
        )

    def ack(self, seq: int, **more: object) -> bytes:
        return json.dumps({"epoch": self.outbox.epoch, "seq": seq, **more}).encode()


async def test_an_ack_lets_go_of_what_is_stored() -> None:
    rig = Rig()
    rig.say(rig.ack(rig.rows[2].seq))
    assert set(rig.outbox.rows) == {row.key for row in rig.rows[3:]}


async def test_what_a_later_version_says_besides_is_ignored() -> None:
    rig = Rig()
    rig.say(rig.ack(rig.rows[4].seq, since="2027-01-01", v=2))
    assert rig.outbox.rows == {}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"5", "E_SCHEMA"),
        (b"{", "E_JSON"),
        (b"\xff\xfe\x00", "E_JSON"),
        (b'{"seq": 5}', "E_SCHEMA"),
        (b'{"epoch": "01J", "seq": "5"}', "E_SCHEMA"),
        (b'{"epoch": "01J", "seq": -1}', "E_SCHEMA"),
        (b'{"epoch": "01J", "seq": 9007199254740992}', "E_JSON"),
        (b'{"epoch": "", "seq": 5}', "E_SCHEMA"),
        (b'{"epoch": "01J", "seq": 1, "seq": 5}', "E_JSON"),
        (b'{"epoch": "01J", "seq": NaN}', "E_JSON"),
        (b"[" * 30 + b"]" * 30, "E_DEPTH"),
        (b'{"epoch": "01J", "seq": 5, "more": "' + b"x" * 70_000 + b'"}', "E_SIZE"),
    ],
)
async def test_what_is_no_ack_changes_nothing_and_is_told_with_its_code(payload: bytes, code: str) -> None:
    rig = Rig()
    with capture_logs() as logs:
        rig.say(payload)
    assert set(rig.outbox.rows) == {row.key for row in rig.rows}
    (told,) = [entry for entry in logs if entry["event"] == "keeping.ack_refused"]
    assert (told["stream"], told["code"], told["log_level"]) == ("detections/door", code, "warning")
    assert rig.metrics.counts == {f"outbox_stored_ignored_total reason={code}": 1}


async def test_taking_a_retained_ack_away_is_nothing_to_tell() -> None:
    rig = Rig()
    with capture_logs() as logs:
        rig.say(b"")
    assert (len(rig.outbox.rows), logs) == (5, [])


async def test_faulty_acks_without_end_do_not_fill_the_log() -> None:
    rig = Rig()
    with capture_logs() as logs:
        for _ in range(1_000):
            rig.say(b"{")
        rig.clock.advance(11)
        rig.say(b"{")
    assert [entry["count"] for entry in logs] == [1, 1_000]


@pytest.mark.parametrize("topic", ["ack/", "ack", "command/ping/1", "state"])
async def test_what_is_not_about_a_stream_is_left_alone(topic: str) -> None:
    rig = Rig()
    rig.say(rig.ack(rig.rows[4].seq), topic=topic)
    assert len(rig.outbox.rows) == 5


async def test_nobody_is_listened_to_where_nobodys_word_is_waited_for() -> None:
    rig = Rig(until="acknowledged")
    before = dict(rig.outbox.rows)
    rig.say(rig.ack(rig.rows[4].seq))
    assert rig.outbox.rows == before
    rig.keeping.connected()
    assert rig.outbox.again == set()


async def test_each_session_begins_with_the_newest_row_of_each_stream() -> None:
    rig = Rig()
    rig.keeping.connected()
    assert rig.outbox.again == {rig.rows[-1].key}


async def test_a_replay_answers_with_the_range_that_is_held() -> None:
    rig = Rig()
    rig.say(rig.ack(rig.rows[1].seq))
    found = await rig.keeping.replay(DOOR, rig.outbox.epoch, 0, rig.rows[3].seq)
    assert found is not None
    assert (found.first, found.last, found.rows) == (rig.rows[2].seq, rig.rows[3].seq, 2)
    assert rig.freed == 1
    assert await rig.keeping.replay(DOOR, rig.outbox.epoch, 0, rig.rows[1].seq) is None
    assert rig.freed == 1


# --- with the stage that sends ----------------------------------------------------------------------


def keeping_of(node: DeliveryNode) -> Keeping:
    node.outbox.keep("stored")
    return Keeping(
        until="stored",
        outbox=node.outbox,
        topics=TOPICS,
        clock=node.clock,
        metrics=node.metrics,
        on_sendable=node.delivery.send_again,
    )


async def test_what_is_replayed_goes_out_once_more_and_says_so() -> None:
    node = DeliveryNode()
    keeping = keeping_of(node)
    node.commit(6)
    async with node.running():
        session = await node.session()
        await wait_until(lambda: len(node.outbox.at_broker) == 6)
        found = await keeping.replay(DOOR, node.outbox.epoch, 2, 4)
        assert found is not None
        await wait_until(lambda: seqs(session) == [1, 2, 3, 4, 5, 6, 2, 3, 4] and not node.outbox.again)
    assert replays(session) == [None] * 6 + ["1"] * 3


async def test_a_replay_does_not_send_again_what_is_on_its_way() -> None:
    node = DeliveryNode()
    keeping = keeping_of(node)
    node.commit(3)
    async with node.running():
        session = await node.session()
        await wait_until(lambda: len(node.outbox.at_broker) == 3)
        session.answer = lambda _publication: None
        node.commit(2)
        await wait_until(lambda: seqs(session) == [1, 2, 3, 4, 5])
        found = await keeping.replay(DOOR, node.outbox.epoch, 2, 5)
        assert found is not None
        assert (found.first, found.last, found.rows) == (2, 5, 2)
        await wait_until(lambda: len(seqs(session)) == 7)
        assert seqs(session) == [1, 2, 3, 4, 5, 2, 3]
        for ticket in sorted(session.in_flight):
            session.acknowledge(ticket)
        session.answer = lambda _publication: 0
        await wait_until(lambda: len(node.outbox.at_broker) == 5 and not node.outbox.again)
        node.commit(1)
        await wait_until(lambda: seqs(session)[7:] == [6])


async def test_a_replay_that_a_lost_session_cut_goes_on_in_the_next() -> None:
    node = DeliveryNode()
    keeping = keeping_of(node)
    node.commit(4)
    async with node.running():
        session = await node.session()
        await wait_until(lambda: len(node.outbox.at_broker) == 4)
        session.answer = lambda _publication: None
        await keeping.replay(DOOR, node.outbox.epoch, 1, 2)
        await wait_until(lambda: seqs(session) == [1, 2, 3, 4, 1, 2])
        session.close()
        again = await node.session(2)
        await wait_until(lambda: not node.outbox.again)
        assert seqs(again) == [1, 2]
        assert replays(again) == ["1", "1"]


async def test_a_replay_holds_up_nothing_that_is_new() -> None:
    """What the broker has had goes with the backlog, of which one row a second may go; the clock stands."""
    node = DeliveryNode(window=5, backlog_per_s=1.0)
    keeping = keeping_of(node)
    node.commit(5)
    async with node.running():
        session = await node.session()
        await wait_until(lambda: node.outbox.at_broker == {1})
        session.answer = lambda _publication: None
        node.commit(10)
        await wait_until(lambda: seqs(session) == [1, 6, 7, 8, 9, 10])
        await keeping.replay(DOOR, node.outbox.epoch, 1, 1)
        session.answer = lambda _publication: 0
        for ticket in sorted(session.in_flight):
            session.acknowledge(ticket)
        await wait_until(lambda: seqs(session) == [1, *range(6, 16)])
        await keeping.replay(DOOR, node.outbox.epoch, 6, 15)
        node.clock.advance(1)
        await wait_until(lambda: seqs(session) == [1, *range(6, 16), 1])
