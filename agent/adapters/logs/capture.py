"""What others say: stdlib logging, warnings, and exceptions that nobody caught."""

import logging
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Final

from agent.adapters.logs.journal import LEVELS, Journal

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_LIBRARY_EVENT: Final = "library.logged"


class LibraryHandler(logging.Handler):
    """Brings what libraries log (paho, asyncio, captured warnings) into the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a message that does not fit its arguments is written as it stands."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        fields = {"logger": record.name, "message": message, "exc_info": record.exc_info}
        self._journal.add(_level(record.levelno), _LIBRARY_EVENT, fields, like=(record.name, str(record.msg)))


class Capture:
    """Turns stdlib logging, warnings and uncaught exceptions to the journal; `release` undoes it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        root = logging.getLogger()
        self._before = (root.handlers[:], root.level)
        self._hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        root.handlers[:] = [LibraryHandler(journal)]
        logging.captureWarnings(capture=True)
        sys.excepthook = self._on_uncaught
        threading.excepthook = self._on_thread_crashed
        sys.unraisablehook = self._on_unraisable

    def release(self) -> None:
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks

    def set_level(self, level: str) -> None:
        logging.getLogger().setLevel(LEVELS[level])

    def _on_uncaught(
        self, kind: type[BaseException], error: BaseException, _trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return  # a person pressed Ctrl-C, and knows
        self._journal.add("critical", "process.crashed", {"exc_info": error})

    def _on_thread_crashed(self, crash: threading.ExceptHookArgs) -> None:
        if crash.exc_type is SystemExit:
            return
        name = crash.thread.name if crash.thread else None
        self._journal.add("error", "thread.crashed", {"thread": name, "exc_info": crash.exc_value})

    def _on_unraisable(self, what: "UnraisableHookArgs") -> None:
        fields = {"where": what.err_msg, "object": repr(what.object), "exc_info": what.exc_value}
        self._journal.add("error", "python.error_ignored", fields)


def _level(number: int) -> str:
    """The nearest level below a library's own.

    >>> _level(logging.WARNING), _level(25), _level(5)
    ('warning', 'info', 'debug')
    """
    return next((name for name, least in reversed(LEVELS.items()) if number >= least), "debug")
