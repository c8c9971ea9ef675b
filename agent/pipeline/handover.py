"""The bridge from threads to the event loop: bounded, in order; a full bridge makes the thread wait."""

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

from agent.pipeline.waiting import wait_for_event

Item = TypeVar("Item")


class Handover(Generic[Item]):
    """Items from any thread to one reader on the loop.

    Back-pressure is the point: while the reader lags, lanes wait, mailboxes fill, and frames are dropped
    there by cause, instead of memory filling here.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop, capacity: int) -> None:
        self._loop = loop
        self._items: deque[Item] = deque()
        self._places = threading.BoundedSemaphore(capacity)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, item: Item, *, timeout_s: float) -> bool:
        """Pass `item` on, from a thread. False: closed, or the reader made no room in time."""
        if self._closed or not self._places.acquire(timeout=timeout_s):
            return False
        self._items.append(item)
        return self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Nothing more comes; the reader ends after what is here. From any thread."""
        self._closed = True
        self._wake()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def drained(self) -> bool:
        """Closed, and everything has been read."""
        return self._closed and not self._items

    async def get(self, *, timeout_s: float) -> Item | None:
        """The next item; None when none came in time, or when nothing will come any more."""
        if not self._items and not self._closed:
            self._arrived.clear()
            if not self._items and not self._closed:
                await wait_for_event(self._arrived, timeout_s=timeout_s)
        if not self._items:
            return None
        item = self._items.popleft()
        self._places.release()
        return item

    def _wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the loop is closed: nobody will read
            return False
        return True
