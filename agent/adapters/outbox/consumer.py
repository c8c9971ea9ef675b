"""What has been asked about rows at the broker, on its way from the event loop to the file."""

import threading
from dataclasses import dataclass, field
from typing import Final

from agent.adapters.outbox.kept import ConsumerAck
from agent.domain.ids import Stream
from agent.ports import KeepUntil

_MOST_ACKS: Final = 1_000
"""Of so many streams; their names come from outside."""


class AckBox:
    """The latest ack of each stream not looked at yet: consumers may be faster than the disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acks: dict[Stream, ConsumerAck] = {}

    def put(self, ack: ConsumerAck) -> bool:
        """From the loop; whether the box was empty, so that somebody has to be told."""
        with self._lock:
            was_empty = not self._acks
            if len(self._acks) < _MOST_ACKS or ack.stream in self._acks:
                self._acks[ack.stream] = ack
            return was_empty

    def take(self) -> dict[Stream, ConsumerAck]:
        """From the database thread: all of them, and the box is empty."""
        with self._lock:
            acks, self._acks = self._acks, {}
            return acks


@dataclass(slots=True)
class Asked:
    """What the database thread has still to do: `until` stays, acks and reminders are done once."""

    until: KeepUntil = "acknowledged"
    acks: dict[Stream, ConsumerAck] = field(default_factory=dict)
    remind: bool = False

    def note(self, acks: dict[Stream, ConsumerAck]) -> None:
        """Newer acks take the place of those that a refusing disk has left here."""
        self.acks.update(acks)
        for stream in list(self.acks)[: max(0, len(self.acks) - _MOST_ACKS)]:
            del self.acks[stream]

    def done(self) -> None:
        self.acks.clear()
        self.remind = False
