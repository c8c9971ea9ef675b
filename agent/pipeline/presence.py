"""What the node says of itself on `B/state`, and how it finds out that somebody else says it."""

from collections import deque
from typing import Final, Literal

from agent.contract import payloads
from agent.contract.topics import Topics
from agent.domain.stamp import rfc3339
from agent.ports import Clock, Inbound, Publication

_MOST_REMEMBERED: Final = 256


class Presence:
    """Makes will, birth and farewell, and remembers them, to tell them from another's."""

    def __init__(self, *, topics: Topics, clock: Clock) -> None:
        self._topics = topics
        self._clock = clock
        self._own: deque[bytes] = deque(maxlen=_MOST_REMEMBERED)
        self._current: bytes | None = None
        self._was_here = False
        self._since = rfc3339(clock.now().wall_ns)

    def will(self, session: int) -> Publication:
        """What the broker says for us when the connection breaks."""
        return self._state("offline", session, "connection-lost")

    def online(self, session: int) -> Publication:
        """The last word of a session's birth, valid from now on."""
        publication = self._state("online", session, None)
        self._was_here = self._current is not None
        self._current = publication.payload
        return publication

    def offline(self, session: int, reason: str) -> Publication:
        """The farewell of an ordered stop."""
        return self._state("offline", session, reason)

    def is_overwritten(self, inbound: Inbound) -> bool:
        """Whether `inbound`, from our own topic, put another state in the place of ours."""
        return not inbound.retained and inbound.payload != self._current

    def is_rivals(self, inbound: Inbound) -> bool:
        """Whether somebody else wrote the state that was there when we came back.

        Told from the second session on: what is there at the first may be our predecessor's.
        """
        if not (self._was_here and inbound.retained) or inbound.payload in self._own:
            return False
        try:
            written = payloads.State.model_validate_json(inbound.payload).time
        except ValueError:
            return False
        # A broker restored from an old backup may show what our predecessor wrote.
        return written >= self._since

    def _state(self, state: Literal["online", "offline"], session: int, reason: str | None) -> Publication:
        time = rfc3339(self._clock.now().wall_ns)
        body = payloads.encode(payloads.State(state=state, session=session, time=time, reason=reason))
        self._own.append(body)
        return Publication(self._topics.state, body, retain=True)
