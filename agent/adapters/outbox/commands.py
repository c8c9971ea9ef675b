"""What the event loop asks of the database thread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.adapters.outbox.consumer import AckBox
from agent.adapters.outbox.work import Refusal
from agent.domain.errors import NanofleetError
from agent.domain.ids import Stream
from agent.ports import Draft, KeepUntil, OutboxStatistics, Priority, Replay, Row, Status


@dataclass(frozen=True, slots=True)
class Append:
    """A draft; `size` is what it takes of the queue's bytes."""

    draft: Draft
    size: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The broker has these rows."""

    keys: Sequence[int]


@dataclass(frozen=True, slots=True)
class Keep:
    """As `ports.Outbox.keep`."""

    until: KeepUntil


@dataclass(frozen=True, slots=True)
class LookAtAcks:
    """Consumers have said how far they are."""

    box: AckBox


@dataclass(frozen=True, slots=True)
class Remind:
    """As `ports.Outbox.remind`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """As `ports.Outbox.fetch`; `answer` is called from the thread."""

    after: Mapping[Priority, int]
    limit: int
    answer: Callable[[list[Row]], None]


@dataclass(frozen=True, slots=True)
class AskStatistics:
    """As `ports.Outbox.statistics`."""

    answer: Callable[[OutboxStatistics], None]


@dataclass(frozen=True, slots=True)
class NextSession:
    """As `ports.Outbox.next_session`."""

    answer: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class AskReplay:
    """As `ports.Outbox.replay`; the answer may be that the disk refuses."""

    stream: Stream
    epoch: str
    first: int
    last: int
    answer: Callable[[Replay | NanofleetError | None], None]


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing comes after it."""


Question = Fetch | AskStatistics | NextSession | AskReplay
Command = Append | Acknowledge | Refusal | Keep | LookAtAcks | Remind | Question | Close


@dataclass(frozen=True, slots=True)
class Reports:
    """What the thread tells, unasked; each is called from the thread and passes on to the loop.

    `opened`: the first attempt to open has ended (with the error that forbids to go on); `epoch`: a file is
    open, and which key in it is the newest; `released`: so many drafts and bytes no longer take up room in
    the queue; `news`: there may be more to send, up to that key; `condition`: as `ports.Condition`;
    `ended`: the thread is done, with what it died of, if it did.
    """

    opened: Callable[[NanofleetError | None], None]
    epoch: Callable[[str, int], None]
    released: Callable[[int, int], None]
    news: Callable[[int], None]
    condition: Callable[[Status, str | None, str | None], None]
    ended: Callable[[BaseException | None], None]
