"""Whether the disk answers at all: a write that hangs says nothing, so whoever waits for it has to."""

from collections.abc import Callable

import structlog

from agent.domain.errors import Code
from agent.ports import Status

log = structlog.get_logger(__name__)

Told = tuple[Status, str | None, str | None]


class Patience:
    """Passes on how the outbox is, but for while the disk hangs. Used on the event loop only."""

    def __init__(self, on_condition: Callable[[Status, str | None, str | None], None]) -> None:
        self._on_condition = on_condition
        self._said: Told = ("ok", None, None)
        self._hanging = False

    def said(self, status: Status, code: str | None, message: str | None) -> None:
        """The database thread has told how it is; so it does not hang."""
        self._said = (status, code, message)
        self._hanging = False
        self._on_condition(status, code, message)

    def waited(self, seconds: float) -> None:
        """There was no answer for so long."""
        if self._hanging:
            return
        self._hanging = True
        log.error("outbox.disk_hangs", after_s=seconds)
        message = f"the disk has not answered for {seconds:g} s; new messages wait in memory until it does"
        self._on_condition("degraded", Code.DISK, message)

    def answered(self) -> None:
        """The database thread has shown that it goes on."""
        if self._hanging:
            log.info("outbox.disk_answers")
            self.said(*self._said)
