"""What is sent next, and what becomes of it when it is answered. Pure: decides, and does no I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from agent.contract.policy import Publish
from agent.pipeline.lane import Lane, waiting_since_ns
from agent.pipeline.outgoing import QUOTA_EXCEEDED, verdict_of
from agent.pipeline.parcel import ENVELOPE_BYTES, Answered, Parcel
from agent.pipeline.quota import Quota
from agent.pipeline.share import Share
from agent.pipeline.supply import Supply
from agent.pipeline.suspects import OnItsWay, Suspects
from agent.pipeline.token_bucket import TokenBucket
from agent.pipeline.window import Window
from agent.ports import Publication, Row

_MOST_REMARKS: Final = 100

_RETRY_BASE_S: Final = 1.0
_RETRY_CAP_S: Final = 60.0

_BEHIND_NS: Final = 750_000_000
"""Live rows that have waited for so long become late, for the sake of those that come after."""

_HURRY_NS: Final = 100_000_000
"""Live rows that have waited for so long get the greater share."""


class Drain:
    """One session after another: first what was announced, then rows, all within the window.

    Live rows have a `Share`, and what is late and the backlog, by turns, the rest of it; within each, rows go
    by priority, then the oldest first. Only the backlog is limited, by `backlog_per_s`, of which a second's
    worth may go at once. A message that the broker cannot take now is held back by itself, with full jitter,
    and the rest goes on; when a window's worth is held, everything waits.
    """

    def __init__(
        self,
        *,
        window: int,
        most_bytes: int,
        batch: int,
        random: Random,
        backlog_per_s: float | None = None,
    ) -> None:
        self.supply = Supply(batch=batch)
        self.window: Window[Parcel] = Window(messages=window, most_bytes=most_bytes)
        self.bucket = TokenBucket(per_s=backlog_per_s, burst=max(1.0, backlog_per_s or 1.0))
        self.open = False
        """Whether there is a session to send on."""
        self._random = random
        self._share = Share(most_bytes=most_bytes)
        self._quota = Quota(random=random)
        self._suspects = Suspects()
        self._changes: dict[str, Parcel] = {}
        self._remarks: deque[Parcel] = deque(maxlen=_MOST_REMARKS)
        self._held: deque[tuple[int, Parcel]] = deque()
        self._now_ns = 0
        self._backlog_from_ns = 0
        self._is_lates_turn = True

    def adopt(self, publish: Publish) -> None:
        """Another window and another rate from now on; what is on its way stays."""
        self.window.resize(publish.window)
        self.bucket.alter(per_s=publish.backlog_per_s, burst=max(1.0, publish.backlog_per_s))

    @property
    def idle(self) -> bool:
        """Everything that is known has been sent and answered."""
        waiting = self._changes or self._remarks or self._held or len(self.window)
        return not waiting and self.supply.exhausted

    def begin(
        self,
        *,
        receive_maximum: int,
        birth: Sequence[Publication],
        newest_key: int,
        backlog_from_ns: int = 0,
        resumes: bool = False,
    ) -> None:
        """A new session, in which `birth` goes first, in its order.

        Rows up to `newest_key` are its backlog, which waits until `backlog_from_ns` (monotonic), and for what
        an earlier session still had to wait. `resumes`: the session before ended only a moment ago, and its
        backlog is this one's; what has come since then is late.
        """
        self.end()
        self.supply.begin(newest_key=newest_key, resumes=resumes)
        self.window.open(receive_maximum=receive_maximum)
        self._backlog_from_ns = max(self._backlog_from_ns, backlog_from_ns)
        self.open = True
        self.announce(birth)

    def end(self, *, broke_at_ns: int | None = None) -> Row | None:
        """The session is over: what was on its way is to be sent again in the next one.

        `broke_at_ns`: when the connection broke, if a message may have been why. The row that is to be
        set aside because it was, if there is one.
        """
        flights = [(f.item.item, f.sent_ns) for f in self.window if isinstance(f.item.item, Row)]
        guilty: int | None = None
        if broke_at_ns is not None:
            guilty = self._suspects.broke(
                [OnItsWay(row.key, broke_at_ns - sent_ns) for row, sent_ns in flights],
                alone=len(self.window) == 1,
            )
        held = [parcel.item for _due_ns, parcel in self._held if isinstance(parcel.item, Row)]
        rows = {row.key: row for row in [*(row for row, _sent_ns in flights), *held]}
        self.open = False
        self.window.open(receive_maximum=self.window.size)
        self._share.begin()
        self.supply.end(unanswered=rows)
        self._changes.clear()
        self._remarks.clear()
        self._held.clear()
        return None if guilty is None else rows[guilty]

    def announce(self, news: Sequence[Publication]) -> None:
        """A newer value takes the place of one not yet sent; of remarks, the newest are kept."""
        for publication in news:
            if publication.qos == 0:
                self._remarks.append(Parcel(publication))
            else:
                self._drop_held(publication.topic)
                self._changes[publication.topic] = Parcel(publication)

    def look(self, now_ns: int, *, newest_key: int) -> None:
        """Once before each run of `next`: what time it is, and what the outbox's newest key is."""
        self._now_ns = now_ns
        self.bucket.fill(now_ns)
        since_ns = waiting_since_ns(self.supply.live)
        waited_ns = 0 if since_ns is None else now_ns - since_ns
        self._share.hurried = waited_ns > _HURRY_NS
        if waited_ns > _BEHIND_NS:
            self.supply.leave_behind(newest_key=newest_key)

    def next(self) -> Parcel | None:
        """What may be sent now; it leaves its queue. At QoS 1, tell `sent` when it is on its way."""
        if self._changes:
            topic, parcel = next(iter(self._changes.items()))
            if self.window.has_room(parcel.size):
                return self._changes.pop(topic)
        if self._remarks:
            return self._remarks.popleft()
        in_flight = len(self.window)
        if self._changes or not self._quota.allows(self._now_ns, in_flight=in_flight):
            return None
        if self._suspects.any and in_flight and self._suspect_is_on_its_way():
            return None
        return self._next_held() or self._next_row()

    def sent(self, parcel: Parcel, ticket: int, now_ns: int) -> None:
        """It is on its way at QoS 1."""
        size = parcel.size
        self.window.add(ticket, parcel, size=size, sent_ns=now_ns)
        if parcel.lane != "live":
            self._share.sent(size)

    def settle(self, ticket: int, reason: int, now_ns: int) -> Answered | None:
        """A PUBACK came. None: it was for nothing that is known."""
        flight = self.window.settle(ticket)
        if flight is None:
            return None
        parcel = flight.item
        verdict = verdict_of(reason)
        if parcel.lane != "live":
            self._share.settled(flight.size)
        if isinstance(parcel.item, Row):
            self._suspects.answered(parcel.item.key)
            if reason == QUOTA_EXCEEDED:
                self._quota.exceeded(sent_ns=flight.sent_ns, now_ns=now_ns)
            else:
                self._quota.taken(sent_ns=flight.sent_ns)
        if verdict == "later":
            self._hold(parcel, now_ns)
        return Answered(parcel, verdict, flight.sent_ns)

    def _next_held(self) -> Parcel | None:
        for place, (due_ns, parcel) in enumerate(self._held):
            if due_ns <= self._now_ns and self.window.has_room(parcel.size):
                del self._held[place]
                return parcel
        return None

    def _next_row(self) -> Parcel | None:
        if len(self._held) >= self.window.size:
            return None
        supply = self.supply
        lane = self._lane_of_the_past()
        if supply.live.peek() is not None and (lane is None or self._share.is_lives_turn):
            lane = supply.live
        row = None if lane is None else lane.peek()
        if lane is None or row is None:
            return None
        if not self.window.has_room(len(row.body) + ENVELOPE_BYTES):
            return None
        if len(self.window) and row.key in self._suspects:
            return None  # it goes with nothing else beside it
        is_live = lane is supply.live
        self._share.took(live=is_live)
        if not is_live:
            self._is_lates_turn = lane is supply.backlog
        if lane is supply.backlog:
            self.bucket.take()
        row, sent_before = supply.take(lane)
        return Parcel(row, sent_before, lane=lane.name)

    def _lane_of_the_past(self) -> Lane | None:
        """Where the next row comes from that is not live; None where there is none, or it has to wait."""
        late, backlog = self.supply.late, self.supply.backlog
        may_begin = self._now_ns >= self._backlog_from_ns and self.bucket.has_one
        for lane in (late, backlog) if self._is_lates_turn else (backlog, late):
            row = lane.peek()
            if row is not None and (lane is late or may_begin):
                size = len(row.body) + ENVELOPE_BYTES
                return lane if self._share.has_room(size, window=self.window.size) else None
        return None

    def _suspect_is_on_its_way(self) -> bool:
        return any(
            isinstance(flight.item.item, Row) and flight.item.item.key in self._suspects
            for flight in self.window
        )

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
