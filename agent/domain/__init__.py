"""Plain values and pure functions: no I/O, clock, logging or asyncio."""
