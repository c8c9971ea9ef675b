"""The C library's heap: what was freed goes back to the system, and threads share one heap.

Loading a model frees as much as it keeps, and every thread that allocates would get a heap of its own:
untouched, both stay in the peak for the life of the process.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final

_M_ARENA_MAX: Final = -8
"""Source: malloc.h of glibc; mallopt(3)."""

_HEAPS: Final = 1
"""Python's threads allocate one at a time, and a model's run takes its memory from an arena of its own."""

_M_MMAP_THRESHOLD: Final = -3
_MAPPED_BYTES: Final = 262_144
"""What is larger, a camera's frame above all, is mapped by itself and gone when freed. Of itself glibc
raises its limit with each such array, until frames lie in the heap: 2.4 MB more, and holes in the end."""


def trim() -> None:
    """Give freed memory back. Milliseconds; does nothing where the C library is not glibc."""
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def limit_heaps() -> None:
    """Let threads share one heap that holds nothing large. Called before they start; only glibc knows how."""
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, _HEAPS)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


@cache
def _function(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    except OSError:
        return None
    return found
