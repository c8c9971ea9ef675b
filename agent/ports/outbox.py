"""Messages on disk until the broker has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.domain.ids import Stream
from agent.domain.stamp import Stamp

Priority = Literal["loss", "event", "result", "snapshot", "telemetry", "detection"]
"""From the last to be dropped to the first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way into the outbox, still without epoch and sequence number.

    `body` is what `contract.payloads.encode` made (or a JPEG, for snapshots).
    """

    stream: Stream
    priority: Priority
    body: bytes
    made: Stamp
    captured: Stamp | None = None
    content_type: str = "application/json"
    expiry_s: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A committed message. `key` names the row within this outbox file and rises with commitment.

    `made`, `captured` and `committed_ns` are this boot's, unless `boot` says otherwise; `synced`: the wall
    clock was right then.
    """

    key: int
    epoch: str
    seq: int
    stream: Stream
    priority: Priority
    body: bytes
    content_type: str
    expiry_s: int | None
    properties: Mapping[str, str]
    made: Stamp
    captured: Stamp | None
    committed_ns: int
    boot: str
    synced: bool
    again: bool = False
    """The broker has had it, and it is sent once more because its consumer has not."""

    @property
    def trace(self) -> str:
        """Names the message in logs: epoch, stream and sequence number."""
        return f"{self.epoch}/{self.stream}/{self.seq}"


KeepUntil = Literal["acknowledged", "stored"]
"""A row stays until the broker has acknowledged it, or until its consumer has stored it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Numbers from `first` to `last` are the outermost still held of a range that was asked for.

    `rows` of them were at the broker and are sent again; the others will be sent anyway. Not `complete`: more
    are held than are sent again at once, from the lowest number on; ask for the rest afterwards.
    """

    first: int
    last: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """`rows` and `bytes` wait to be acknowledged; the counters are of this epoch, over restarts.

    `at_broker` of the rows have a PUBACK and wait for their consumer.
    """

    epoch: str
    rows: int
    bytes: int
    oldest_s: float
    refused: int
    produced: int
    acknowledged: int
    lost: int
    at_broker: int = 0


class Outbox(Protocol):
    """Messages on disk until the broker has them. Called on the event loop, which it never blocks."""

    @property
    def epoch(self) -> str: ...

    @property
    def newest_key(self) -> int:
        """The highest key that was committed so far, as far as is known on the loop; 0 before any."""

    async def append(self, draft: Draft) -> None:
        """Hand over. Returns when the draft is queued for the next group commit (bounded: waits while full).

        Order of calls is order of commitment, per stream.
        """

    async def committed(self) -> None:
        """Wait until something has been committed, or set free to be sent, since the last call."""

    async def fetch(self, *, after: Mapping[Priority, int], limit: int) -> list[Row]:
        """Up to `limit` waiting rows above `after[priority]`: highest priority first, then oldest."""

    def acknowledge(self, keys: Sequence[int]) -> None:
        """The broker has them: they leave the outbox with the next group commit. Unknown keys are ignored.

        Where rows are kept until stored they stay and go on to wait, but `fetch` does not give them again.
        """

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None:
        """This row will never pass: set it aside, listable, and declare its loss."""

    def keep(self, until: KeepUntil) -> None:
        """From now on. Going back to `acknowledged` lets go of what the broker has."""

    def stored(self, stream: Stream, epoch: str, seq: int) -> None:
        """The consumer has everything of `stream` up to `seq`: what the broker has of it leaves the outbox.

        Ignored where it is of another epoch or, until that has caught up, beyond the last PUBACK.
        """

    def remind(self) -> None:
        """Have the newest row at the broker of each stream sent again, to show a gap before it."""

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        """Have what is at the broker of this range sent again: then `fetch` gives it, below any cursor.

        None: nothing of it is held any more.
        """

    async def statistics(self) -> OutboxStatistics: ...

    async def next_session(self) -> int:
        """Count a session up, on disk before it returns: the number for birth and will."""

    async def close(self) -> None:
        """Commit what was appended and close the file. Bounded in time."""
