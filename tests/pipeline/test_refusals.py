"""How refusals are told."""

from agent.domain.errors import Code
from agent.pipeline.refusals import HANGS_UP, Refusals
from agent.ports import Status
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.rows import row_of


class Node:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = FakeMetrics()
        self.said: list[tuple[Status, str | None, str]] = []
        self.refusals = Refusals(clock=self.clock, metrics=self.metrics, on_condition=self.note)

    def note(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        assert who == "delivery"
        self.said.append((status, code, message or ""))


def test_health_says_which_stream_why_and_what_would_be_right() -> None:
    node = Node()
    node.refusals.row(row_of(1), 0x87, "the broker refuses it")
    status, code, message = node.said[-1]
    assert (status, code) == ("degraded", Code.REFUSED)
    assert "detections/door (0x87, not authorized: the broker's access list has to allow it)" in message
    assert message.endswith("the rest goes on")


def test_a_row_that_breaks_connections_has_a_reason_of_its_own() -> None:
    node = Node()
    node.refusals.row(row_of(1), HANGS_UP, "the broker hangs up on it")
    assert "the connection broke each time that it was sent" in node.said[-1][2]
    assert node.metrics.counts["delivery_refused_total code=hangs-up"] == 1


def test_the_same_again_is_no_news() -> None:
    node = Node()
    for _ in range(100):
        node.refusals.row(row_of(1), 0x87, "the broker refuses it")
    assert len(node.said) == 1


def test_memory_and_message_stay_small_whatever_is_refused() -> None:
    node = Node()
    for number in range(5_000):
        node.refusals.row(row_of(number + 1, stream=f"result/{number}"), 0x87, "the broker refuses it")
    assert len(node.refusals._refused) <= 101
    assert len(node.said) <= 101
    assert all(len(message) < 1_000 for _, _, message in node.said)
    assert node.metrics.counts["delivery_refused_total code=0x87"] == 5_000


def test_a_minute_without_another_ends_it() -> None:
    node = Node()
    node.refusals.row(row_of(1), 0x87, "the broker refuses it")
    node.clock.advance(59)
    node.refusals.look()
    before = node.said[-1][0]
    node.clock.advance(2)
    node.refusals.look()
    assert (before, node.said[-1][0]) == ("degraded", "ok")
