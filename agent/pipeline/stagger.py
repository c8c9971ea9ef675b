"""When the backlog begins after an outage, so that a fleet does not come back all at once."""

import asyncio
from random import Random
from typing import Final

from agent.domain.errors import TransientError
from agent.pipeline.outage import SHORT_S
from agent.ports import Outbox

_SHARE: Final = 0.1
_LONGEST_S: Final = 30.0
_FEW_ROWS: Final = 1_000
_ANSWER_WITHIN_S: Final = 2.0


class Stagger:
    """The nodes of a site lose their broker together, and find it again together: each with its backlog.

    The delay is random, up to a tenth of the outage and half a minute. Nothing waits after a short outage,
    or where little waits: a thousand rows of each node are no flood.
    """

    def __init__(self, *, outbox: Outbox, random: Random) -> None:
        self._outbox = outbox
        self._random = random
        self._is_first = True

    async def delay_s(self, outage_s: float) -> float:
        """Seconds that the backlog waits in a session that follows on an outage of so many seconds.

        Before the first session of a process nobody knows how long the broker was away; the oldest row does.
        """
        is_first, self._is_first = self._is_first, False
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                fill = await self._outbox.statistics()
        except (TransientError, TimeoutError):
            return 0.0  # a disk that does not answer gives no flood either
        if fill.rows - fill.at_broker < _FEW_ROWS:
            return 0.0
        away_s = max(outage_s, fill.oldest_s) if is_first else outage_s
        if away_s < SHORT_S:
            return 0.0
        return self._random.uniform(0.0, min(_LONGEST_S, _SHARE * away_s))
