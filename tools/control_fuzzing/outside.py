"""The world around a node's control: a clock, an outbox, metrics and announcements that only remember."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Literal

from agent.domain.stamp import Stamp
from agent.pipeline.announcements import Announcements
from agent.pipeline.outgoing import SUBTOPIC
from agent.ports import OutboxStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.domain.ids import Stream
    from agent.ports import Draft, KeepUntil, Priority, Publication, Replay, Row

NOW_NS: Final = 1_800_000_000_000_000_000
_ENDED: Final = frozenset({"done", "failed", "rejected"})


class SteppedClock:
    """Fulfils `ports.Clock`: monotonic time moves when it is told to, the wall's stands still."""

    boot = "00000000-0000-4000-8000-000000000000"

    def __init__(self) -> None:
        self._monotonic_ns = 1_000_000_000

    def now(self) -> Stamp:
        return Stamp(NOW_NS, self._monotonic_ns)

    def synced(self) -> bool:
        return True

    def advance(self, seconds: float) -> None:
        self._monotonic_ns += int(seconds * 1e9)


class CountingMetrics:
    """Fulfils `ports.Metrics`; only counters are kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counts[" ".join((name, *labels.values()))] += int(amount)

    def gauge(self, name: str, value: float, /, **labels: str) -> None: ...

    def forget(self, name: str, /, **labels: str) -> None: ...

    def observe(self, name: str, seconds: float, /, **labels: str) -> None: ...

    def observe_all(self, name: str, seconds: Sequence[float], /, **labels: str) -> None: ...


class HeardAnnouncements(Announcements):
    """`on_retained` hears of each value that is set, the same again included."""

    def __init__(self, *, on_retained: Callable[[Publication], None]) -> None:
        super().__init__()
        self._on_retained = on_retained

    def retain(self, publication: Publication) -> None:
        """Nobody takes remarks and changes away here, and so they are."""
        super().retain(publication)
        self.take()
        self._on_retained(publication)


class AnswerBook:
    """Fulfils `ports.Outbox`: `on_ended` hears of each command's last word, by ``op/id``; nothing is kept."""

    epoch = "01JCFUZZ0000000000000000000"
    newest_key = 0

    def __init__(self, *, on_ended: Callable[[str, dict[str, Any]], None]) -> None:
        self._on_ended = on_ended
        self.largest_bytes = 0
        self.acked: deque[tuple[str, str, int]] = deque(maxlen=1)

    async def append(self, draft: Draft) -> None:
        self.largest_bytes = max(self.largest_bytes, len(draft.body))
        if draft.stream == "result":
            told = json.loads(draft.body)
            if told["status"] in _ENDED:
                self._on_ended(draft.properties[SUBTOPIC], told)

    async def committed(self) -> None: ...

    async def fetch(self, *, after: Mapping[Priority, int], limit: int) -> list[Row]:
        del after, limit
        return []

    def acknowledge(self, keys: Sequence[int]) -> None: ...

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None: ...

    def keep(self, until: KeepUntil) -> None: ...

    def stored(self, stream: Stream, epoch: str, seq: int) -> None:
        self.acked.append((stream, epoch, seq))

    def remind(self) -> None: ...

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        del stream, epoch, first, last
        return None

    async def statistics(self) -> OutboxStatistics:
        return OutboxStatistics(
            epoch=self.epoch,
            rows=0,
            bytes=0,
            oldest_s=0.0,
            refused=0,
            produced=0,
            acknowledged=0,
            lost=0,
        )

    async def next_session(self) -> int:
        return 1

    async def close(self) -> None: ...
