"""How far delivery is, as numbers: what waits, and how old the present is when it arrives."""

import asyncio
from math import isfinite

from agent.domain.errors import TransientError
from agent.pipeline.drain import Drain
from agent.pipeline.feed import Feed
from agent.pipeline.lane import waiting_since_ns
from agent.pipeline.sender import Sender
from agent.ports import Clock, Metrics, Outbox


class Figures:
    """Measures while there is a session; and finds what waits though nobody is going to fetch it."""

    def __init__(
        self,
        *,
        drain: Drain,
        sender: Sender,
        feed: Feed,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
        every_s: float,
    ) -> None:
        self._drain = drain
        self._sender = sender
        self._feed = feed
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._every_s = every_s

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            await asyncio.sleep(self._every_s)
            if self._drain.open:
                await self._measure()

    async def _measure(self) -> None:
        try:
            fill = await self._outbox.statistics()
        except TransientError:
            return  # told by whoever fetches
        supply = self._drain.supply
        waiting = fill.rows - fill.at_broker
        new = supply.new_rows(newest_key=self._outbox.newest_key)
        self._metrics.gauge("delivery_backlog_rows", max(0, waiting - new))
        self._metrics.gauge("delivery_live_lag_s", self._live_lag_s())
        if isfinite(self._drain.bucket.tokens):
            self._metrics.gauge("delivery_backlog_tokens", self._drain.bucket.tokens)
        if waiting:
            supply.look_again()
            self._feed.look()

    def _live_lag_s(self) -> float:
        """Of the last row of this session that was acknowledged, or of one that has waited for longer."""
        supply = self._drain.supply
        since_ns = waiting_since_ns(supply.live, supply.late)
        waited_ns = 0 if since_ns is None else self._clock.now().monotonic_ns - since_ns
        return max(self._sender.live_lag_ns, waited_ns) / 1e9
