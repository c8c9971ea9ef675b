"""What was asked about rows at the broker, until the disk lets it be done: bounded, the latest counts."""

from dataclasses import dataclass, field
from typing import Final

from agent.adapters.outbox.kept import ConsumerAck
from agent.domain.ids import Stream
from agent.ports import KeepUntil

_MOST_ACKS: Final = 1_000
"""Of so many streams; their names come from outside."""


@dataclass(slots=True)
class Asked:
    """`until` stays; acks and reminders are done once."""

    until: KeepUntil = "acknowledged"
    acks: dict[Stream, ConsumerAck] = field(default_factory=dict)
    remind: bool = False

    def note(self, ack: ConsumerAck) -> None:
        """A newer ack of a stream takes the place of one that has not been looked at yet."""
        if len(self.acks) < _MOST_ACKS or ack.stream in self.acks:
            self.acks[ack.stream] = ack

    def done(self) -> None:
        self.acks.clear()
        self.remind = False
