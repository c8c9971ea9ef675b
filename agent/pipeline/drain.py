"""What is sent next, and what becomes of it when it is answered. Pure: decides, and does no I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from agent.pipeline.backlog import Backlog
from agent.pipeline.outgoing import Verdict, verdict_of
from agent.pipeline.window import Window
from agent.ports import Publication, Row

_MOST_REMARKS: Final = 100
_ENVELOPE_BYTES: Final = 128
"""About what topic, properties and sequence add to a body."""

_RETRY_BASE_S: Final = 1.0
_RETRY_CAP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A row or an announcement to be sent. `sent_before`: in this process, without a known outcome."""

    item: Row | Publication
    sent_before: bool = False
    failures: int = 0

    @property
    def size(self) -> int:
        body = self.item.body if isinstance(self.item, Row) else self.item.payload
        return len(body) + _ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class Answered:
    """A parcel and its outcome. `sent_ns` is monotonic."""

    parcel: Parcel
    verdict: Verdict
    sent_ns: int


class Drain:
    """One session after another: first what was announced, then rows by priority, all within the window.

    A message that the broker cannot take now is held back by itself, with full jitter, and the rest goes
    on; when a window's worth is held, everything waits.
    """

    def __init__(self, *, window: int, most_bytes: int, batch: int, random: Random) -> None:
        self.backlog = Backlog(batch=batch)
        self.window: Window[Parcel] = Window(messages=window, most_bytes=most_bytes)
        self.open = False
        """Whether there is a session to send on."""
        self._random = random
        self._changes: dict[str, Parcel] = {}
        self._remarks: deque[Parcel] = deque(maxlen=_MOST_REMARKS)
        self._held: deque[tuple[int, Parcel]] = deque()

    @property
    def idle(self) -> bool:
        """Everything that is known has been sent and answered."""
        waiting = self._changes or self._remarks or self._held or len(self.window)
        return not waiting and self.backlog.exhausted

    def begin(self, *, receive_maximum: int, birth: Sequence[Publication]) -> None:
        """A new session, in which `birth` goes first, in its order."""
        self.end()
        self.window.open(receive_maximum=receive_maximum)
        self.open = True
        self.announce(birth)

    def end(self) -> None:
        """The session is over: what was on its way is to be sent again in the next one."""
        self.open = False
        self.window.open(receive_maximum=self.window.size)
        self.backlog.rewind()
        self._changes.clear()
        self._remarks.clear()
        self._held.clear()

    def announce(self, news: Sequence[Publication]) -> None:
        """A newer value takes the place of one not yet sent; of remarks, the newest are kept."""
        for publication in news:
            if publication.qos == 0:
                self._remarks.append(Parcel(publication))
            else:
                self._drop_held(publication.topic)
                self._changes[publication.topic] = Parcel(publication)

    def next(self, now_ns: int) -> Parcel | None:
        """What may be sent now; it leaves its queue. At QoS 1, tell `sent` when it is on its way."""
        if self._changes:
            topic, parcel = next(iter(self._changes.items()))
            if self.window.has_room(parcel.size):
                return self._changes.pop(topic)
        if self._remarks:
            return self._remarks.popleft()
        if self._changes:
            return None
        return self._next_held(now_ns) or self._next_row()

    def sent(self, parcel: Parcel, ticket: int, now_ns: int) -> None:
        """It is on its way at QoS 1."""
        self.window.add(ticket, parcel, size=parcel.size, sent_ns=now_ns)

    def settle(self, ticket: int, reason: int, now_ns: int) -> Answered | None:
        """A PUBACK came. None: it was for nothing that is known."""
        flight = self.window.settle(ticket)
        if flight is None:
            return None
        verdict = verdict_of(reason)
        if verdict == "later":
            self._hold(flight.item, now_ns)
        return Answered(flight.item, verdict, flight.sent_ns)

    def _next_held(self, now_ns: int) -> Parcel | None:
        for place, (due_ns, parcel) in enumerate(self._held):
            if due_ns <= now_ns and self.window.has_room(parcel.size):
                del self._held[place]
                return parcel
        return None

    def _next_row(self) -> Parcel | None:
        row = self.backlog.peek()
        if row is None or len(self._held) >= self.window.size:
            return None
        if not self.window.has_room(len(row.body) + _ENVELOPE_BYTES):
            return None
        row, sent_before = self.backlog.take()
        return Parcel(row, sent_before)

    def _hold(self, parcel: Parcel, now_ns: int) -> None:
        bound_s = min(_RETRY_CAP_S, _RETRY_BASE_S * 2.0 ** min(parcel.failures, 30))
        due_ns = now_ns + int(self._random.uniform(0.0, bound_s) * 1e9)
        item = parcel.item
        if isinstance(item, Publication) and item.topic in self._changes:
            return  # a newer value is on its way
        self._held.append((due_ns, replace(parcel, failures=parcel.failures + 1)))

    def _drop_held(self, topic: str) -> None:
        for place, (_due_ns, parcel) in enumerate(self._held):
            if isinstance(parcel.item, Publication) and parcel.item.topic == topic:
                del self._held[place]
                return
