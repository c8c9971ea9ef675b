"""The one way that every line of the log takes: limit, make plain, scrub, hand on, write."""

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Protocol, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from agent.adapters.logs.repeats import Entry, RepeatLimit
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.logs.values import plain_fields, plain_text, plain_value
from agent.domain.stamp import rfc3339

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_SAME_LEVEL: Final = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}
_WHOSE: Final = ("source", "stage", "stream", "rule", "model", "code", "who", "thread")
"""Fields that part one flood from another under the same event."""

_MOST_TRACEBACK_CHARS: Final = 20_000

_WITHOUT_LOCALS: Final = ExceptionDictTransformer(show_locals=False, max_frames=30)
"""A frame's variables hold addresses with passwords, and pictures."""


class Render(Protocol):
    """Makes one line of an entry of plain values."""

    def __call__(self, entry: Entry) -> str: ...


class Journal:
    """Takes events from structlog (`process`) and from anywhere else (`add`); every thread may call.

    A stream that cannot be written to loses lines, never a stage.
    """

    def __init__(
        self, *, stream: TextIO, render: Render, structured: bool, scrubber: Scrubber, repeats: RepeatLimit
    ) -> None:
        self._stream = stream
        self._render = render
        self._structured = structured
        self._scrubber = scrubber
        self._repeats = repeats
        self._lock = threading.RLock()  # reentrant: a destructor may log while a line is being written
        self.hand_on: Callable[[Entry], None] | None = None
        """Where plain entries from `warning` up go as well."""

    def process(self, _logger: object, method: str, event_dict: Mapping[str, Any]) -> str:
        """The only structlog processor. Raises: structlog.DropEvent, as everything is written already."""
        fields = dict(event_dict)
        self.add(_SAME_LEVEL.get(method, method), str(fields.pop("event", "")), fields)
        raise structlog.DropEvent

    def add(self, level: str, event: str, fields: Mapping[str, Any], *, like: Hashable = None) -> None:
        """Write a line, unless too many of the kind came of late; `like` tells kinds of one event apart."""
        entry: Entry = {"time": rfc3339(time.time_ns()), "level": level, "event": event}
        # `level=` and `time=` are good names for fields, too.
        entry |= {f"{name}_" if name in entry else name: value for name, value in fields.items()}
        whose = tuple(str(fields[name]) for name in _WHOSE if name in fields)
        for due in self._repeats.pass_on((level, event, whose, like), entry):
            self._write(due)

    def flush(self) -> None:
        """Tell what was held back as repeated."""
        for due in self._repeats.flush():
            self._write(due)

    def _write(self, entry: Entry) -> None:
        error = _exception_of(entry.pop("exc_info", None))
        clean = self._scrubber.text
        plain = plain_fields(entry, clean)
        plain["event"] = plain["event"].replace("\n", "\\n")
        if self.hand_on is not None and LEVELS.get(entry["level"], 0) >= LEVELS["warning"]:
            summary = {"exception": plain_text(f"{type(error).__name__}: {error}", clean)} if error else {}
            self.hand_on({**plain, **summary})
        if error is not None:
            plain["exception"] = self._told(error)
        self._put(self._render(plain) + "\n")

    def _told(self, error: BaseException) -> object:
        if self._structured:
            stacks = _WITHOUT_LOCALS((type(error), error, error.__traceback__))
            return plain_value(stacks, self._scrubber.text)
        text = "".join(traceback.format_exception(error)).rstrip()
        return plain_text(text, self._scrubber.text, most_chars=_MOST_TRACEBACK_CHARS)

    def _put(self, line: str) -> None:
        try:
            with self._lock:
                try:
                    self._stream.write(line)
                except UnicodeEncodeError:
                    self._stream.write(line.encode("ascii", "backslashreplace").decode("ascii"))
                self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads any more (closed pipe, closed file, full disk): there is no place to say so


def render_json(entry: Entry) -> str:
    """Compact, ASCII only: no encoding of the stream can refuse it, and no reader stumbles over it."""
    return json.dumps(entry, separators=(",", ":"))


def _exception_of(exc_info: object) -> BaseException | None:
    """What `exc_info` means, in all the forms that structlog and logging know."""
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exception()
    return None
