"""What is on its way to the broker and not yet acknowledged. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Flight(Generic[Item]):
    """A message on its way; `size` in bytes, `sent_ns` monotonic."""

    item: Item
    size: int
    sent_ns: int


class Window(Generic[Item]):
    """At most so many messages at QoS 1, and so many bytes, without an acknowledgement.

    The bytes are bounded because on a slow line the ping waits behind them; one message always fits.
    """

    def __init__(self, *, messages: int, most_bytes: int) -> None:
        if messages < 1:
            raise ValueError(f"a window holds at least one message, not {messages}")
        self._configured = messages
        self._messages = messages
        self._receive_maximum = messages
        self._most_bytes = most_bytes
        self._flights: dict[int, Flight[Item]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight[Item]]:
        """In the order in which they were sent."""
        return iter(self._flights.values())

    @property
    def size(self) -> int:
        """Messages that may be on their way at once."""
        return self._messages

    @property
    def oldest_sent_ns(self) -> int | None:
        """When the message that has waited longest was sent."""
        return next((flight.sent_ns for flight in self._flights.values()), None)

    def open(self, *, receive_maximum: int) -> None:
        """A new session: nothing is on its way in it. Source: MQTT 5.0, 4.9, flow control."""
        self._receive_maximum = receive_maximum
        self._messages = max(1, min(self._configured, receive_maximum))
        self._flights.clear()
        self._bytes = 0

    def resize(self, messages: int) -> None:
        """At most so many from now on; what is on its way stays. The session's own bound is kept."""
        if messages < 1:
            raise ValueError(f"a window holds at least one message, not {messages}")
        self._configured = messages
        self._messages = max(1, min(messages, self._receive_maximum))

    def has_room(self, size: int) -> bool:
        if not self._flights:
            return True
        return len(self._flights) < self._messages and self._bytes + size <= self._most_bytes

    def add(self, ticket: int, item: Item, *, size: int, sent_ns: int) -> None:
        self._flights[ticket] = Flight(item, size, sent_ns)
        self._bytes += size

    def settle(self, ticket: int) -> Flight[Item] | None:
        """The message that `ticket` stands for has been answered; None if it is not known."""
        flight = self._flights.pop(ticket, None)
        if flight is not None:
            self._bytes -= flight.size
        return flight
