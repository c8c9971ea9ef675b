"""What is sent, as the drain knows it while it waits, is on its way, and is answered."""

from dataclasses import dataclass
from typing import Final

from agent.pipeline.lane import LaneName
from agent.pipeline.outgoing import Verdict
from agent.ports import Publication, Row

ENVELOPE_BYTES: Final = 128
"""About what topic, properties and sequence add to a body."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A row or an announcement to be sent. `sent_before`: in this process, without a known outcome.

    `lane`: where the row came from; an announcement is said as it happens.
    """

    item: Row | Publication
    sent_before: bool = False
    failures: int = 0
    lane: LaneName = "live"

    @property
    def size(self) -> int:
        body = self.item.body if isinstance(self.item, Row) else self.item.payload
        return len(body) + ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class Answered:
    """A parcel and its outcome. `sent_ns` is monotonic."""

    parcel: Parcel
    verdict: Verdict
    sent_ns: int
