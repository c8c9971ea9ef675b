"""An outbox in memory, which commits at once."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from agent.contract import payloads
from agent.contract.topics import LOSS, Topics
from agent.domain.ids import Stream
from agent.ports import Clock, Draft, KeepUntil, OutboxStatistics, Priority, Replay, Row

EPOCH = "01JCXW5N1EFAKE0UTB0X000001"

_RANK = {priority: rank for rank, priority in enumerate(get_args(Priority))}


class FakeOutbox:
    """Fulfils `ports.Outbox`; `rows` are those that wait, by key.

    `at_broker` are the keys of those that wait for their consumer; of these, `again` are sent once more.

    Losses are declared only where `topics` say in whose name.
    """

    def __init__(self, *, clock: Clock, epoch: str = EPOCH, topics: Topics | None = None) -> None:
        self.epoch = epoch
        self.rows: dict[int, Row] = {}
        self.acknowledged: list[int] = []
        self.refused: list[tuple[int, Literal["refused", "oversize"], int | None]] = []
        self.at_broker: set[int] = set()
        self.again: set[int] = set()
        self.until: KeepUntil = "acknowledged"
        self.sessions = 0
        self.fetches: list[tuple[dict[Priority, int], int]] = []
        self._clock = clock
        self._topics = topics
        self._seqs: Counter[Stream] = Counter()
        self._keys = 0
        self._standing: dict[Stream, int] = {}
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
            synced=self._clock.synced(),
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
        hidden = self.at_broker - self.again
        wanted = [
            row
            for row in self.rows.values()
            if row.key > after.get(row.priority, 0) and row.key not in hidden
        ]
        ordered = sorted(wanted, key=lambda row: (_RANK[row.priority], row.key))[:limit]
        return [replace(row, again=row.key in self.again) for row in ordered]

    def acknowledge(self, keys: Sequence[int]) -> None:
        if self.until == "acknowledged":
            self._take_out(keys)
            return
        self.at_broker.update(key for key in keys if key in self.rows)
        self.again.difference_update(keys)
        for stream in self._standing:
            self._follow(stream)

    def keep(self, until: KeepUntil) -> None:
        self.until = until
        if until == "acknowledged":
            self._take_out(list(self.at_broker))

    def stored(self, stream: Stream, epoch: str, seq: int) -> None:
        if epoch == self.epoch and seq <= self._seqs[stream]:
            self._standing[stream] = seq
            self._follow(stream)

    def remind(self) -> None:
        newest = {self.rows[key].stream: key for key in sorted(self.at_broker)}
        self.again.update(newest.values())
        self._news.set()

    async def replay(self, stream: Stream, epoch: str, first: int, last: int) -> Replay | None:
        if epoch != self.epoch:
            return None
        held = {r.seq: r.key for r in self.rows.values() if r.stream == stream and first <= r.seq <= last}
        if not held:
            return None
        again = self.at_broker.intersection(held.values())
        self.again |= again
        self._news.set()
        return Replay(first=min(held), last=max(held), rows=len(again), complete=True)

    def refuse(self, key: int, *, reason: Literal["refused", "oversize"], code: int | None) -> None:
        row = self.rows.pop(key, None)
        self._forget([key])
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
            at_broker=len(self.at_broker),
        )

    async def next_session(self) -> int:
        self.sessions += 1
        return self.sessions

    async def close(self) -> None:
        return None

    def _follow(self, stream: Stream) -> None:
        """Let go of what the consumer has, unless it claims more than the broker ever had."""
        kept = {self.rows[key].seq: key for key in self.at_broker if self.rows[key].stream == stream}
        if kept and self._standing[stream] <= max(kept):
            self._take_out([key for seq, key in kept.items() if seq <= self._standing[stream]])

    def _take_out(self, keys: Sequence[int]) -> None:
        self.acknowledged += [key for key in keys if self.rows.pop(key, None) is not None]
        self._forget(keys)

    def _forget(self, keys: Sequence[int]) -> None:
        self.at_broker.difference_update(keys)
        self.again.difference_update(keys)

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
