"""Waiting for a condition, with a deadline, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, within_s: float = 10.0, every_s: float = 0.005) -> None:
    """Return as soon as `condition` holds.

    Raises:
        AssertionError: it did not within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(every_s)


def until_blocking(condition: Callable[[], bool], *, within_s: float = 10.0, every_s: float = 0.01) -> None:
    """The same for tests without a loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(every_s)
