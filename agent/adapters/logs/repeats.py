"""Keeping a flood of the same line out of the log, without hiding that there was one."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

Entry = dict[str, Any]

_MOST_KEYS: Final = 1_000


@dataclass(slots=True)
class _Window:
    ends_s: float
    passed: int = 1
    held_back: int = 0
    last: Entry | None = None


class RepeatLimit:
    """Passes `most` entries of one key in `per_s` seconds on, and counts the rest.

    What was held back is told once, after the window: the last such entry, with `repeated` saying how many
    there were. That happens with the next entry of any key, or by `flush`. Every thread may call.
    """

    def __init__(
        self, *, most: int = 10, per_s: float = 60.0, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._per_s = per_s
        self._now_s = now_s
        # In order of their ends, as all windows are equally long. The lock is reentrant because a destructor
        # that runs in the middle of this may log as well.
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self._lock = threading.RLock()

    def pass_on(self, key: Hashable, entry: Entry) -> list[Entry]:
        """What is to be written now, in order: what past windows held back, then `entry` if it may pass."""
        now_s = self._now_s()
        with self._lock:
            due = self._close_windows(lambda window: window.ends_s <= now_s)
            window = self._windows.get(key)
            if window is None:
                self._windows[key] = _Window(ends_s=now_s + self._per_s)
                if len(self._windows) > _MOST_KEYS:
                    due += _told(self._windows.popitem(last=False)[1])
            elif window.passed < self._most:
                window.passed += 1
            else:
                window.held_back += 1
                # Without the exception: its traceback would keep a minute's worth of frames alive.
                window.last = {name: value for name, value in entry.items() if name != "exc_info"}
                return due
        return [*due, entry]

    def flush(self) -> list[Entry]:
        """Close all windows, and return what they held back."""
        with self._lock:
            return self._close_windows(lambda _: True)

    def _close_windows(self, is_over: Callable[[_Window], bool]) -> list[Entry]:
        due: list[Entry] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if not is_over(window):
                break
            self._windows.pop(key, None)
            due += _told(window)
        return due


def _told(window: _Window) -> list[Entry]:
    return [] if window.last is None else [{**window.last, "repeated": window.held_back}]
