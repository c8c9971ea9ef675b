"""The C library's heap: what was freed goes back to the system, and threads share few heaps.

Loading a model frees as much as it keeps, and every thread that allocates would get a heap of its own:
untouched, both stay in the peak for the life of the process.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final

_M_ARENA_MAX: Final = -8
"""Source: malloc.h of glibc; mallopt(3)."""

_HEAPS: Final = 2
"""Threads allocate large arrays seldom and briefly: one heap for the loop and one for all others will do."""


def trim() -> None:
    """Give freed memory back. Milliseconds; does nothing where the C library is not glibc."""
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def limit_heaps() -> None:
    """Let all threads share a few heaps, before they are started; does nothing where it is not glibc."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, _HEAPS)


@cache
def _function(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    except OSError:
        return None
    return found
