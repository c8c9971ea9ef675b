"""Handing warnings and worse on to the topic `B/log`."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, cast

from agent.contract.payloads import Log

_BURST: Final = 20
_PER_S: Final = 0.5
_MOST_BYTES: Final = 4_096


class Tap:
    """Gives `hand_on` one `Log` an entry, in the thread that logged: at most 20 at once, then one in 2 s.

    What is left out is counted into the next one's field `left_out`. What `hand_on` itself logs is not
    handed on. `hand_on` returns quickly and does not raise.
    """

    def __init__(
        self, hand_on: Callable[[Log], None], *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._hand_on = hand_on
        self._now_s = now_s
        self._tokens = float(_BURST)
        self._filled_s = now_s()
        self._left_out = 0
        self._lock = threading.RLock()
        self._here = threading.local()

    def take(self, entry: dict[str, Any]) -> None:
        """`entry` is plain and clean, with `time`, `level` and `event`."""
        if getattr(self._here, "handing_on", False):
            return
        left_out = self._admit()
        if left_out is None:
            return
        fields = {key: value for key, value in entry.items() if key not in {"time", "level", "event"}}
        if left_out:
            fields["left_out"] = left_out
        level = cast("Literal['warning', 'error', 'critical']", entry["level"])
        self._here.handing_on = True
        try:
            self._hand_on(
                Log(time=entry["time"], level=level, event=str(entry["event"]), fields=_bounded(fields))
            )
        finally:
            self._here.handing_on = False

    def _admit(self) -> int | None:
        """How many were left out since the last one that passed; None: this one is, too."""
        with self._lock:
            now_s = self._now_s()
            self._tokens = min(float(_BURST), self._tokens + (now_s - self._filled_s) * _PER_S)
            self._filled_s = now_s
            if self._tokens < 1:
                self._left_out += 1
                return None
            self._tokens -= 1
            left_out, self._left_out = self._left_out, 0
            return left_out


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """As many of `fields` as fit into one small message."""
    kept: dict[str, Any] = {}
    left = _MOST_BYTES
    for key, value in fields.items():
        left -= len(json.dumps({key: value}))
        if left < 0:
            return {**kept, "cut": True}
        kept[key] = value
    return kept
