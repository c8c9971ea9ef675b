"""Setting the log up, for the life of a command."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

from agent.adapters.logs.capture import Capture
from agent.adapters.logs.journal import LEVELS, Journal, Render, render_json
from agent.adapters.logs.repeats import Entry, RepeatLimit
from agent.adapters.logs.scrub import Scrubber

if TYPE_CHECKING:
    from agent.contract.payloads import Log

Mode = Literal["json", "pretty", "auto"]
Level = Literal["debug", "info", "warning", "error", "critical"]


class Logging:
    """The log as it is set up; `close` puts everything back."""

    def __init__(self, *, journal: Journal, level: Level) -> None:
        self._journal = journal
        self._capture = Capture(journal)
        self.set_level(level)

    @property
    def level(self) -> Level:
        return self._level

    def set_level(self, level: Level) -> None:
        """Write nothing less grave from now on, in all threads. What was bound before keeps its level."""
        self._level: Level = level
        self._capture.set_level(level)
        structlog.configure(
            processors=[self._journal.process],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            logger_factory=structlog.ReturnLoggerFactory(),
            # Caching would save 2 of 25 µs a line, and take away this method and structlog's capture_logs.
            cache_logger_on_first_use=False,
        )

    def hand_on(self, callback: "Callable[[Log], None] | None") -> None:
        """Give warnings and worse to `callback` as well, for the topic `B/log`; None ends it.

        `callback` is called in the thread that logged, rate limited, and never for what it logs itself; it
        returns quickly and does not raise.
        """
        if callback is None:
            self._journal.hand_on = None
            return
        # The payload models take 50 ms to import, which commands that publish nothing need not wait for.
        from agent.adapters.logs.tap import Tap

        self._journal.hand_on = Tap(callback).take

    def flush(self) -> None:
        """Tell what was held back as repeated; call it before the process ends."""
        self._journal.flush()

    def close(self) -> None:
        """Flush, and leave logging, warnings and hooks as they were before."""
        self.flush()
        self._capture.release()
        structlog.reset_defaults()


def configure_logging(
    *, stream: TextIO, scrubber: Scrubber, mode: Mode = "auto", level: Level = "info"
) -> Logging:
    """Let everything that is logged in this process come out at `stream`, as one clean line each.

    `auto` is `pretty` where `stream` is a terminal, and `json` elsewhere. Stdlib logging, warnings and
    uncaught exceptions come the same way. Lines of one kind are limited to ten a minute, and the rest told as
    a number.
    """
    is_terminal = stream.isatty()
    is_pretty = mode == "pretty" or (mode == "auto" and is_terminal)
    journal = Journal(
        stream=stream,
        render=_pretty(colors=is_terminal and "NO_COLOR" not in os.environ) if is_pretty else render_json,
        structured=not is_pretty,
        scrubber=scrubber,
        repeats=RepeatLimit(),
    )
    return Logging(journal=journal, level=level)


def _pretty(*, colors: bool) -> Render:
    # Not rich's tracebacks: they show variables, and with them passwords.
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        sort_keys=False,
        timestamp_key="time",
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render(entry: Entry) -> str:
        line: Any = renderer(None, entry["level"], entry)
        return str(line)

    return render
