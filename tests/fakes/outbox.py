"""An outbox in memory, which commits at once."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from agent.contract import payloads
from agent.contract.topics import LOSS, Topics
from agent.domain.ids import Stream
from agent.ports import Clock, Draft, OutboxStatistics, Priority, Row

EPOCH = "01JCXW5N1EFAKE0UTB0X000001"

_RANK = {priority: rank for rank, priority in enumerate(get_args(Priority))}


class FakeOutbox:
    """Fulfils `ports.Outbox`; `rows` are those that wait, by key.

    Losses are declared only where `topics` say in whose name.
    """

    def __init__(self, *, clock: Clock, epoch: str = EPOCH, topics: Topics | None = None) -> None:
        self.epoch = epoch
        self.rows: dict[int, Row] = {}
        self.acknowledged: list[int] = []
        self.refused: list[tuple[int, Literal["refused", "oversize"], int | None]] = []
        self.sessions = 0
        self.fetches: list[tuple[dict[Priority, int], int]] = []
        self._clock = clock
        self._topics = topics
        self._seqs: Counter[Stream] = Counter()
        self._keys = 0
        self._news = asyncio.Event()

    @property
    def newest_key(self) -> int:
        return self._keys

    async def append(self, draft: Draft) -> None:
        self.commit(draft)

    def commit(self, draft: Draft) -> Row:
        """`append` for tests that want the row."""
        self._keys += 1
        self._seqs[draft.stream] += 1
        row = Row(
            key=self._keys,
            epoch=self.epoch,
            seq=self._seqs[draft.stream],
            stream=draft.stream,
            priority=draft.priority,
            body=draft.body,
            content_type=draft.content_type,
            expiry_s=draft.expiry_s,
            properties=dict(draft.properties),
            made=draft.made,
            captured=draft.captured,
            committed_ns=self._clock.now().monotonic_ns,
            boot=self._clock.boot,
        )
        self.rows[row.key] = row
        self._news.set()
        return row

    async def committed(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def fetch(self, *, after: Mapping[Priority, int], limit: int) -> list[Row]:
        self.fetches.append((dict(after), limit))
        await asyncio.sleep(0)
        wanted = [row for row in self.rows.values() if row.key > after.get(row.priority, 0)]
        return sorted(wanted, key=lambda row: (_RANK[row.priority], row.key))[:limit]

    def acknowledge(self, keys: Sequence[int]) -> None:
        for key in keys:
            if self.rows.pop(key, None) is not None:
                self.acknowledged.append(key)

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None:
        row = self.rows.pop(key, None)
        if row is None:
            return
        self.refused.append((key, reason, code))
        if self._topics is not None and row.stream != LOSS:
            self.commit(self._loss(row, reason, self._topics))

    async def statistics(self) -> OutboxStatistics:
        return OutboxStatistics(
            epoch=self.epoch,
            rows=len(self.rows),
            bytes=sum(len(row.body) for row in self.rows.values()),
            oldest_s=0.0,
            refused=len(self.refused),
            produced=self._keys,
            acknowledged=len(self.acknowledged),
            lost=len(self.refused),
        )

    async def next_session(self) -> int:
        self.sessions += 1
        return self.sessions

    async def close(self) -> None:
        return None

    def _loss(self, row: Row, reason: Literal["refused", "oversize"], topics: Topics) -> Draft:
        now = self._clock.now()
        loss = payloads.Loss(
            **payloads.stream_head(topics, now, synced=self._clock.synced(), boot=self._clock.boot),
            stream=row.stream,
            lost_epoch=row.epoch,
            first=row.seq,
            last=row.seq,
            count=1,
            reason=reason,
        )
        return Draft(stream=LOSS, priority="loss", body=payloads.encode(loss), made=now)
