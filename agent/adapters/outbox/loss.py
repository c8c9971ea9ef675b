"""Loss messages: what the ledger holds, told upwards, but not in a flood."""

from collections.abc import Sequence
from typing import Final

import structlog

from agent.adapters.outbox.bounds import Present
from agent.adapters.outbox.ledger import Drop, Entry
from agent.contract import payloads
from agent.contract.topics import LOSS, Topics
from agent.domain.ids import Stream
from agent.ports import Draft

log = structlog.get_logger(__name__)

TELL_EVERY_NS: Final = 1_000_000_000
"""Between two declarations about one stream for one reason; meanwhile the ledger's line grows."""


class LossTeller:
    """Decides which lines of the ledger are due, and words them."""

    def __init__(self, *, topics: Topics) -> None:
        self._topics = topics
        self._told_ns: dict[tuple[Stream, str], int] = {}

    def due(self, entries: Sequence[Entry], present: Present) -> list[Entry]:
        """Those about whose stream and reason nothing was told in the last second."""
        now_ns = present.at.monotonic_ns
        return [
            entry
            for entry in entries
            if now_ns - self._told_ns.get((entry.drop.stream, entry.drop.reason), now_ns - TELL_EVERY_NS)
            >= TELL_EVERY_NS
        ]

    def told(self, entries: Sequence[Entry], present: Present) -> None:
        """They are committed."""
        for entry in entries:
            drop = entry.drop
            log.warning(
                "outbox.rows_dropped",
                stream=drop.stream,
                reason=drop.reason,
                count=drop.count,
                first=drop.first,
                last=drop.last,
            )
        self._told_ns |= {
            (entry.drop.stream, entry.drop.reason): present.at.monotonic_ns for entry in entries
        }

    def draft(self, drop: Drop, present: Present) -> Draft:
        """The loss message about `drop`."""
        head = payloads.stream_head(self._topics, present.at, synced=present.synced, boot=present.boot)
        message = payloads.Loss(
            **head,
            stream=drop.stream,
            lost_epoch=drop.lost_epoch,
            first=drop.first,
            last=drop.last,
            count=drop.count,
            reason=drop.reason,
        )
        return Draft(stream=LOSS, priority="loss", body=payloads.encode(message), made=present.at)
