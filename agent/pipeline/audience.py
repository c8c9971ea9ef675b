"""Whether anybody listens: the broker says so with each acknowledgement."""

from typing import Final

from agent.domain.ids import Stream
from agent.ports import Condition

_MOST_STREAMS: Final = 100
_MOST_NAMED: Final = 5


class Audience:
    """Streams whose last row had no subscriber (0x10) are told in health, which is no worse for it.

    Those rows are delivered, as far as the broker is concerned: nobody else will get them. It ends when
    somebody listens again.
    """

    def __init__(self, *, on_condition: Condition) -> None:
        self._on_condition = on_condition
        self._unheard: dict[Stream, None] = {}
        self._is_news = False

    def unheard(self, stream: Stream) -> None:
        """A row was acknowledged though nobody subscribes."""
        if stream not in self._unheard and len(self._unheard) < _MOST_STREAMS:
            self._unheard[stream] = None
            self._is_news = True

    def heard(self, stream: Stream) -> None:
        """A row was acknowledged, and somebody subscribes."""
        if self._unheard and stream in self._unheard:
            del self._unheard[stream]
            self._is_news = True

    def look(self) -> None:
        """Now and then: tell what has changed."""
        if not self._is_news:
            return
        self._is_news = False
        if not self._unheard:
            self._on_condition("subscribers", "ok", None, None)
            return
        named = ", ".join(sorted(self._unheard)[:_MOST_NAMED])
        others = len(self._unheard) - _MOST_NAMED
        more = f" and {others} more" if others > 0 else ""
        message = f"nobody subscribes to {named}{more}: the broker drops what is sent there"
        self._on_condition("subscribers", "waiting", None, message)
