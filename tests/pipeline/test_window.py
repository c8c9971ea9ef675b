"""What may be on its way at once."""

import pytest

from agent.pipeline.window import Window


def window_of(messages: int = 3, most_bytes: int = 1_000, receive_maximum: int = 65_535) -> Window[str]:
    window: Window[str] = Window(messages=messages, most_bytes=most_bytes)
    window.open(receive_maximum=receive_maximum)
    return window


@pytest.mark.parametrize(
    ("configured", "receive_maximum", "size"), [(20, 65_535, 20), (20, 10, 10), (20, 1, 1), (1, 65_535, 1)]
)
def test_a_window_is_the_smaller_of_ours_and_the_brokers(
    configured: int, receive_maximum: int, size: int
) -> None:
    assert window_of(configured, receive_maximum=receive_maximum).size == size


def test_a_larger_receive_maximum_of_a_later_session_counts() -> None:
    window = window_of(20, receive_maximum=1)
    window.open(receive_maximum=50)
    assert window.size == 20


def test_a_full_window_has_room_again_after_an_answer() -> None:
    window = window_of(2)
    window.add(1, "a", size=10, sent_ns=100)
    assert window.has_room(10)
    window.add(2, "b", size=10, sent_ns=200)
    assert not window.has_room(10)
    flight = window.settle(1)
    assert flight is not None
    assert (flight.item, flight.sent_ns) == ("a", 100)
    assert window.has_room(10)


def test_bytes_fill_a_window_but_one_message_always_fits() -> None:
    window = window_of(3, most_bytes=100)
    assert window.has_room(5_000)
    window.add(1, "large", size=5_000, sent_ns=0)
    assert not window.has_room(1)
    window.settle(1)
    window.add(2, "small", size=60, sent_ns=0)
    assert window.has_room(40)
    assert not window.has_room(41)


def test_the_oldest_is_the_one_that_waits_longest() -> None:
    window = window_of(3)
    assert window.oldest_sent_ns is None
    window.add(1, "a", size=1, sent_ns=100)
    window.add(2, "b", size=1, sent_ns=200)
    window.settle(1)
    assert window.oldest_sent_ns == 200


def test_an_answer_to_nothing_known_is_no_answer() -> None:
    assert window_of().settle(7) is None


def test_a_new_session_has_nothing_on_its_way() -> None:
    window = window_of(1)
    window.add(1, "a", size=1, sent_ns=0)
    window.open(receive_maximum=10)
    assert len(window) == 0
    assert window.has_room(1)


def test_a_window_without_room_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Window[str](messages=0, most_bytes=1)
