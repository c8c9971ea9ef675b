"""Cutting a stream of bytes into lines of bounded length and number, without credentials."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from agent.adapters.logs.scrub import Scrubber
from agent.adapters.logs.values import plain_text

_MOST_BYTES: Final = 8_192
_MOST_LINES: Final = 200
_PER_S: Final = 10.0
_BREAK: Final = re.compile(rb"\r\n|\n|\r")
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*m")


class CleanLines:
    """Takes bytes as they come and gives lines that may be written; used by one thread.

    A line is cut at 8 KiB, as journald would a little later; past 200 lines in 10 s the rest is counted, and
    told by one line. Line breaks are LF, CR and CR LF; empty lines are left out.
    """

    def __init__(self, scrubber: Scrubber, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._scrubber = scrubber
        self._now_s = now_s
        self._rest = b""
        self._skipping = False
        self._window_ends_s = 0.0
        self._passed = 0
        self._left_out = 0

    @property
    def has_rest(self) -> bool:
        """Whether the beginning of a line waits for its end."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes, without their breaks."""
        *lines, self._rest = _BREAK.split(self._rest + data)
        for line in lines:
            if not self._skipping:
                yield from self._admit(line)
            self._skipping = False
        if len(self._rest) > _MOST_BYTES:
            if not self._skipping:
                yield from self._admit(self._rest, is_cut=True)
            self._skipping, self._rest = True, b""

    def end(self) -> Iterator[str]:
        """What still waits, as it is."""
        rest, self._rest = self._rest, b""
        if not self._skipping:
            yield from self._admit(rest)
        yield from self._account()

    def _admit(self, line: bytes, *, is_cut: bool = False) -> Iterator[str]:
        text = _COLOUR.sub(b"", line).decode("utf-8", "backslashreplace")
        if not text.strip():
            return
        now_s = self._now_s()
        if now_s >= self._window_ends_s:
            yield from self._account()
            self._window_ends_s = now_s + _PER_S
            self._passed = 0
        self._passed += 1
        if self._passed > _MOST_LINES:
            self._left_out += 1
        else:
            yield plain_text(text, self._scrubber.text, most_chars=_MOST_BYTES, is_cut=is_cut)

    def _account(self) -> Iterator[str]:
        if self._left_out:
            yield f"nanofleet: {self._left_out} more lines were left out here"
            self._left_out = 0
