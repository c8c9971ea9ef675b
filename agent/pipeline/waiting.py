"""Waiting for something, but never for ever."""

import asyncio


async def wait_for_event(event: asyncio.Event, *, timeout_s: float) -> bool:
    """Wait for `event`, but no longer than `timeout_s`; whether it came."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
