"""Attempts that fail and sessions that are lost: told in the log, in metrics and in health."""

from typing import Final

import structlog

from agent.domain.errors import Code, TransientError
from agent.pipeline.outage import Outage
from agent.pipeline.rivalry import Rivalry
from agent.ports import Closed, Condition, Metrics, Status

log = structlog.get_logger(__name__)

RENEWAL: Final = "renewal"
"""A session that we left ourselves, for another with new certificates."""

_NEEDS_A_PERSON: Final = frozenset({"tls", "refused", "taken-over"})


class Setbacks:
    """Each is answered with the seconds until the next attempt."""

    def __init__(
        self, *, outage: Outage, rivalry: Rivalry, metrics: Metrics, on_condition: Condition
    ) -> None:
        self._outage = outage
        self._rivalry = rivalry
        self._metrics = metrics
        self._on_condition = on_condition

    def attempt_failed(self, error: TransientError) -> float:
        """There is no session."""
        cause = error.path or str(error.code)
        delay_s = self._outage.fail(cause)
        self._metrics.count("link_attempts_failed_total", cause=cause)
        # A certificate or a refusal waits for a person; the network comes back by itself.
        tell = log.warning if cause in _NEEDS_A_PERSON else log.info
        tell(
            "link.attempt_failed",
            cause=cause,
            code=error.code,
            message=error.message,
            retry_in_s=round(delay_s, 2),
        )
        self._tell_condition(cause, error.code, error.message)
        return delay_s

    def session_lost(self, closed: Closed, *, session: int) -> float:
        """There was one, and nobody was told to stop."""
        delay_s = self._outage.begin(closed.cause)
        if closed.cause == RENEWAL:
            log.info("link.moving", session=session, cause=closed.cause)
            return delay_s
        self._metrics.count("link_lost_total", cause=closed.cause)
        if closed.cause == "taken-over":
            self._rivalry.note()
        log.info(
            "link.lost",
            session=session,
            cause=closed.cause,
            detail=closed.detail,
            retry_in_s=round(delay_s, 2),
        )
        code = Code.REFUSED if closed.cause in _NEEDS_A_PERSON else Code.NETWORK
        self._tell_condition(closed.cause, code, f"{closed.detail}; tried again in {delay_s:.0f} s")
        return delay_s

    def _tell_condition(self, cause: str, code: Code, message: str) -> None:
        status: Status = "degraded" if cause in _NEEDS_A_PERSON else "waiting"
        self._on_condition("link", status, code, message)
