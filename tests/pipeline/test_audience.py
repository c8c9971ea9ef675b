"""Whether anybody listens."""

from agent.domain.ids import Stream
from agent.pipeline.audience import Audience
from agent.ports import Status

DOOR, HALL = Stream("detections/door"), Stream("detections/hall")


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, Status, str | None]] = []

    def __call__(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        assert code is None
        self.said.append((who, status, message))


def test_streams_that_nobody_hears_are_named_once_and_do_not_degrade_the_node() -> None:
    told = Told()
    audience = Audience(on_condition=told)
    for _ in range(100):
        audience.unheard(HALL)
        audience.unheard(DOOR)
        audience.look()
    ((who, status, message),) = told.said
    assert (who, status) == ("subscribers", "waiting")
    assert message is not None
    assert "nobody subscribes to detections/door, detections/hall:" in message


def test_it_ends_when_somebody_listens_again() -> None:
    told = Told()
    audience = Audience(on_condition=told)
    audience.unheard(DOOR)
    audience.look()
    audience.heard(DOOR)
    audience.look()
    assert told.said[-1] == ("subscribers", "ok", None)


def test_who_was_always_heard_says_nothing() -> None:
    told = Told()
    audience = Audience(on_condition=told)
    audience.heard(DOOR)
    audience.look()
    assert told.said == []


def test_many_streams_are_counted_not_named() -> None:
    told = Told()
    audience = Audience(on_condition=told)
    for number in range(1_000):
        audience.unheard(Stream(f"events/r{number}"))
    audience.look()
    message = told.said[-1][2]
    assert message is not None
    assert "and 95 more" in message
    assert len(message) < 300
