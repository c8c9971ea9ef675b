"""What is sent next, and what becomes of it: decided without any I/O."""

from random import Random

from agent.pipeline.drain import Drain
from agent.pipeline.parcel import Parcel
from agent.ports import Publication, Row
from tests.fakes.rows import row_of

SECOND = 1_000_000_000
ONLINE = Publication("base/state", b"online", retain=True)
INFO = Publication("base/info", b"info", retain=True)
HEALTH = Publication("base/health", b"ok", retain=True)
BEAT = Publication("base/heartbeat", b"beat", qos=0)


class Broker:
    """Hands out tickets for what a drain sends."""

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self.now_ns = 0
        self.newest_key = 0
        self.sent: list[tuple[int, Parcel]] = []

    def serve(self) -> list[str]:
        """Send what may be sent now; what that is, by topic or `row <key>`."""
        names = []
        self.drain.look(self.now_ns, newest_key=self.newest_key)
        while (parcel := self.drain.next()) is not None:
            item = parcel.item
            names.append(f"row {item.key}" if isinstance(item, Row) else item.topic)
            if isinstance(item, Row) or item.qos:
                ticket = len(self.sent) + 1
                self.sent.append((ticket, parcel))
                self.drain.sent(parcel, ticket, self.now_ns)
        return names

    def answer(self, ticket: int, reason: int = 0) -> str:
        answered = self.drain.settle(ticket, reason, self.now_ns)
        assert answered is not None
        return answered.verdict


def drain_of(
    *rows: Row, window: int = 3, birth: tuple[Publication, ...] = (), receive: int = 65_535
) -> Drain:
    drain = Drain(window=window, most_bytes=1_000_000, batch=16, random=Random(1))
    drain.begin(receive_maximum=receive, birth=birth, newest_key=0)
    supply(drain, *rows)
    return drain


def supply(drain: Drain, *rows: Row) -> None:
    """Answer all that the drain asks, from an outbox that holds `rows`."""
    while (ask := drain.supply.ask()) is not None:
        found = [row for row in rows if row.key > ask.after[row.priority]]
        drain.supply.add(found[: drain.supply.batch], asked=ask)


def test_birth_comes_before_rows_and_in_its_order() -> None:
    broker = Broker(drain_of(row_of(1), birth=(INFO, HEALTH, ONLINE), window=10))
    assert broker.serve() == ["base/info", "base/health", "base/state", "row 1"]


def test_birth_keeps_its_order_through_a_window_of_one() -> None:
    broker = Broker(drain_of(row_of(1), birth=(INFO, ONLINE), receive=1))
    assert broker.serve() == ["base/info"]
    broker.answer(1)
    assert broker.serve() == ["base/state"]
    broker.answer(2)
    assert broker.serve() == ["row 1"]


def test_never_more_than_the_window_is_on_its_way() -> None:
    broker = Broker(drain_of(*(row_of(key) for key in range(1, 10)), window=3))
    assert broker.serve() == ["row 1", "row 2", "row 3"]
    assert broker.serve() == []
    broker.answer(2)
    assert broker.serve() == ["row 4"]


def test_an_announcement_overtakes_the_backlog_and_counts_in_the_window() -> None:
    drain = drain_of(*(row_of(key) for key in range(1, 10)), window=2)
    broker = Broker(drain)
    broker.serve()
    drain.announce([HEALTH])
    assert broker.serve() == []
    broker.answer(1)
    assert broker.serve() == ["base/health"]
    broker.answer(3)
    assert broker.serve() == ["row 3"]


def test_a_newer_value_of_a_topic_takes_the_place_of_the_older() -> None:
    drain = drain_of(row_of(1), window=1)
    broker = Broker(drain)
    broker.serve()
    drain.announce([HEALTH])
    drain.announce([INFO, Publication("base/health", b"degraded", retain=True)])
    broker.answer(1)
    broker.serve()
    broker.answer(2)
    broker.serve()
    assert [parcel.item.payload for _, parcel in broker.sent[1:] if isinstance(parcel.item, Publication)] == [
        b"degraded",
        b"info",
    ]


def test_a_remark_needs_no_room() -> None:
    drain = drain_of(row_of(1), window=1)
    broker = Broker(drain)
    broker.serve()
    drain.announce([BEAT])
    assert broker.serve() == ["base/heartbeat"]


def test_a_message_that_comes_too_early_is_held_back_and_the_rest_goes_on() -> None:
    drain = drain_of(*(row_of(key) for key in range(1, 4)), window=2)
    broker = Broker(drain)
    broker.serve()
    assert broker.answer(1, 0x80) == "later"
    assert broker.serve() == ["row 3"]
    broker.answer(2)
    broker.answer(3)
    before = drain.idle
    broker.now_ns = 10 * SECOND
    assert broker.serve() == ["row 1"]
    assert broker.answer(4) == "taken"
    assert (before, drain.idle) == (False, True)


def test_when_a_windows_worth_is_held_back_everything_waits() -> None:
    broker = Broker(drain_of(*(row_of(key) for key in range(1, 9)), window=2))
    broker.serve()
    broker.answer(1, 0x80)
    broker.answer(2, 0x80)
    assert broker.serve() == []


def test_the_wait_for_what_is_held_back_is_bounded_by_a_bound_that_doubles() -> None:
    broker = Broker(drain_of(row_of(1), window=1))
    broker.serve()
    waits_s = []
    for failures in range(12):
        broker.answer(failures + 1, 0x80)
        held_ns = broker.now_ns
        while not broker.serve():
            broker.now_ns += SECOND // 20
        waits_s.append((broker.now_ns - held_ns) / SECOND)
    assert all(wait_s <= min(60, 2**failures) + 0.1 for failures, wait_s in enumerate(waits_s))
    assert max(waits_s) > 8


def test_a_held_announcement_gives_way_to_a_newer_one() -> None:
    drain = drain_of(birth=(HEALTH,), window=1)
    broker = Broker(drain)
    broker.serve()
    broker.answer(1, 0x80)
    drain.announce([Publication("base/health", b"degraded", retain=True)])
    assert broker.serve() == ["base/health"]
    broker.answer(2)
    broker.now_ns = 100 * SECOND
    assert broker.serve() == []
    assert drain.idle


def test_a_refusal_is_final() -> None:
    drain = drain_of(row_of(1), row_of(2))
    broker = Broker(drain)
    broker.serve()
    assert broker.answer(1, 0x87) == "refused"
    assert broker.answer(2, 0x95) == "oversize"
    broker.now_ns = 100 * SECOND
    assert broker.serve() == []
    assert drain.idle


def test_a_new_session_sends_again_what_was_on_its_way() -> None:
    rows = [row_of(key) for key in range(1, 5)]
    drain = drain_of(*rows, window=2)
    broker = Broker(drain)
    broker.serve()
    broker.answer(1)
    broker.serve()
    drain.end()
    drain.begin(receive_maximum=10, birth=(), newest_key=0)
    supply(drain, *rows[1:])
    broker.serve()
    broker.answer(4)
    broker.serve()
    parcels = [parcel for _, parcel in broker.sent[3:]]
    again = [(p.item.key, p.sent_before) for p in parcels if isinstance(p.item, Row)]
    assert again == [(2, True), (3, True), (4, False)]


def test_an_answer_of_an_earlier_session_is_for_nothing() -> None:
    drain = drain_of(row_of(1))
    Broker(drain).serve()
    drain.begin(receive_maximum=10, birth=(), newest_key=0)
    assert drain.settle(1, 0, 0) is None


def test_it_is_idle_only_when_all_is_answered_and_the_outbox_has_no_more() -> None:
    drain = Drain(window=3, most_bytes=1_000, batch=4, random=Random(1))
    drain.begin(receive_maximum=10, birth=(ONLINE,), newest_key=0)
    broker = Broker(drain)
    idle = [drain.idle]
    broker.serve()
    idle.append(drain.idle)
    broker.answer(1)
    idle.append(drain.idle)
    supply(drain)
    idle.append(drain.idle)
    drain.supply.live.expect_more()
    idle.append(drain.idle)
    assert idle == [False, False, False, True, False]
