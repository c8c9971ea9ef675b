"""Messages that the broker will never take: told in the log, in metrics and in the node's health."""

from typing import Final

import structlog

from agent.domain.errors import Code
from agent.ports import Clock, Condition, Metrics, Row

log = structlog.get_logger(__name__)

_REMEMBERED_NS: Final = 60_000_000_000
_LOGGED_EVERY_NS: Final = 10_000_000_000
_MOST_NAMED: Final = 5
_MOST_REMEMBERED: Final = 100
_OTHERS: Final = "others"

HANGS_UP: Final = "hangs-up"
_UNSENDABLE: Final = "unsendable"

# Source: MQTT 5.0, 3.4.2.1, PUBACK reason codes.
_ADVICE: Final = {
    "0x87": "not authorized: the broker's access list has to allow it",
    "0x90": "topic name invalid: the broker allows no such topic",
    "0x95": "too large for the broker, or for publish.max_message_bytes",
    "0x99": "payload format invalid: the broker checks what is in it",
    HANGS_UP: "the connection broke each time that it was sent, also by itself",
    _UNSENDABLE: "no MQTT packet can hold it",
}


class _Refused:
    """What was refused for one reason since the last line about it."""

    def __init__(self) -> None:
        self.count = 0
        self.logged_ns: int | None = None


class Refusals:
    """Health is degraded until nothing has been refused for a minute, and says what, why and what to do.

    What it says changes only when something new is refused, for health itself is a message; and the log has
    a line per stream and reason every ten seconds, with its count.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, on_condition: Condition) -> None:
        self._clock = clock
        self._metrics = metrics
        self._on_condition = on_condition
        self._refused: dict[tuple[str, str], _Refused] = {}
        self._last_ns = 0

    def row(self, row: Row, code: int | str | None, why: str) -> None:
        """A row was set aside."""
        if count := self._note(row.stream, _name(code)):
            log.warning(
                "delivery.row_refused",
                stream=row.stream,
                seq=row.seq,
                code=_name(code),
                reason=why,
                count=count,
            )

    def announcement(self, topic: str, code: int | None) -> None:
        """A retained topic cannot be written."""
        if count := self._note(topic, _name(code)):
            log.warning("delivery.announcement_refused", topic=topic, code=_name(code), count=count)

    def look(self) -> None:
        """Now and then: forget what is long past."""
        if self._refused and self._clock.now().monotonic_ns - self._last_ns > _REMEMBERED_NS:
            self._refused.clear()
            self._on_condition("delivery", "ok", None, None)

    def _note(self, what: str, code: str) -> int:
        """How many to tell of in the log; 0 when it is too early for another line."""
        self._metrics.count("delivery_refused_total", code=code)
        now_ns = self._last_ns = self._clock.now().monotonic_ns
        if (what, code) not in self._refused and len(self._refused) >= _MOST_REMEMBERED:
            what = _OTHERS
        refused = self._refused.get((what, code))
        if refused is None:
            refused = self._refused[what, code] = _Refused()
            self._tell_condition()
        refused.count += 1
        if refused.logged_ns is not None and now_ns - refused.logged_ns < _LOGGED_EVERY_NS:
            return 0
        count, refused.count, refused.logged_ns = refused.count, 0, now_ns
        return count

    def _tell_condition(self) -> None:
        named = [f"{what} ({code}, {_ADVICE.get(code, 'refused')})" for what, code in sorted(self._refused)]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        message = f"the broker will not take {'; '.join(named[:_MOST_NAMED])}{more}; the rest goes on"
        self._on_condition("delivery", "degraded", Code.REFUSED, message)


def _name(code: int | str | None) -> str:
    """A reason code as the standard writes it; what we refuse ourselves has a word."""
    match code:
        case None:
            return _UNSENDABLE
        case str():
            return code
        case _:
            return f"0x{code:02X}"
