"""Keeps the drain supplied: with rows when it runs short of them, with announcements when there are any."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from agent.domain.errors import TransientError
from agent.pipeline.announcements import Announcements
from agent.pipeline.drain import Drain
from agent.ports import Condition, Outbox

log = structlog.get_logger(__name__)

_RETRY_S: Final = 1.0


class Feed:
    """Coroutines that run as long as delivery does; `on_news` is called when there is more to send."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        announcements: Announcements,
        drain: Drain,
        on_news: Callable[[], None],
        on_condition: Condition,
    ) -> None:
        self._outbox = outbox
        self._announcements = announcements
        self._drain = drain
        self._on_news = on_news
        self._on_condition = on_condition
        self._short = asyncio.Event()
        self._failing = False

    def coroutines(self) -> dict[str, Coroutine[Any, Any, None]]:
        """By the names of the tasks that they become. They never end by themselves."""
        return {
            "delivery[committed]": self._follow_outbox(),
            "delivery[fetch]": self._fetch(),
            "delivery[announcements]": self._follow_announcements(),
        }

    def look(self) -> None:
        """Fetch if the drain has become short of rows."""
        if self._drain.open and self._drain.supply.wanting:
            self._short.set()

    async def _follow_outbox(self) -> None:
        while True:
            await self._outbox.committed()
            self._drain.supply.live.expect_more()
            self.look()

    async def _follow_announcements(self) -> None:
        while True:
            await self._announcements.news()
            news = self._announcements.take()
            if self._drain.open:  # else the next birth says all that is retained
                self._drain.announce(news)
                self._on_news()

    async def _fetch(self) -> None:
        supply = self._drain.supply
        while True:
            await self._short.wait()
            self._short.clear()
            while self._drain.open and (asked := supply.ask()) is not None:
                try:
                    rows = await self._outbox.fetch(after=asked.after, limit=supply.batch)
                except TransientError as error:
                    await self._wait_out(error)
                    continue
                self._recover()
                supply.add(rows, asked=asked)
                self._on_news()

    async def _wait_out(self, error: TransientError) -> None:
        if not self._failing:
            self._failing = True
            log.error("delivery.fetch_failed", code=error.code, message=error.message)
            self._on_condition("delivery", "failed", error.code, error.message)
        await asyncio.sleep(_RETRY_S)

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            self._on_condition("delivery", "ok", None, None)
