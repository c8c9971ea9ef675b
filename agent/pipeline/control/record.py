"""Which policy is in force, and what is written down and told of it and of the attempts to change it."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from agent.contract.policy import PolicyDocument
from agent.contract.reported import PolicyAttempt, PolicyStatus, SourceStanding, policy_sha256
from agent.domain.errors import Code, NanofleetError, TransientError
from agent.domain.ids import SourceName
from agent.domain.stamp import rfc3339
from agent.pipeline.control.journal import Journal
from agent.pipeline.control.reporting import Reporting
from agent.pipeline.control.terms import Applied
from agent.pipeline.supervise import in_thread
from agent.ports import Clock, Condition, Origin, PolicyStore

log = structlog.get_logger(__name__)

_WHO: Final = "policy"

TRIAL_S: Final = 120.0
"""So long has a process to live with another policy; if it ends before in two lives, the old one is back."""
_MOST_MESSAGE_CHARS: Final = 2_000
"""Ten attempts are kept and told: with every problem of a hostile document that would be too much of both."""


class PolicyRecord:
    """Used on the event loop, by one attempt at a time. `on_applied` hears of the document in force."""

    def __init__(
        self,
        *,
        store: PolicyStore,
        journal: Journal,
        document: PolicyDocument,
        origin: Origin,
        reporting: Reporting,
        clock: Clock,
        on_condition: Condition,
        on_applied: Callable[[PolicyDocument], None],
    ) -> None:
        self._store = store
        self._reporting = reporting
        self._clock = clock
        self._on_condition = on_condition
        self._on_applied = on_applied
        self._origin: Origin = origin
        self.journal = journal
        self.document = document
        """In force."""
        self._since_ns = clock.now().monotonic_ns

    @property
    def versions(self) -> dict[str, int]:
        """By which version each source runs."""
        known = self.journal.sources
        version = self.document.version
        return {
            name: known[name].version if name in known else version for name in self.document.policy.sources
        }

    def ended(
        self, version: int | None, sha256: str, status: PolicyStatus, error: NanofleetError | None = None
    ) -> PolicyAttempt:
        """How an attempt has ended, just now."""
        return PolicyAttempt(
            version=version,
            sha256=sha256,
            status=status,
            code=error.code if error else None,
            path=(error.path or None) if error else None,
            message=error.message[:_MOST_MESSAGE_CHARS] if error else "",
            at=rfc3339(self._clock.now().wall_ns),
        )

    @property
    def last_status(self) -> PolicyStatus:
        """What became of the last attempt."""
        attempts = self.journal.attempts
        return attempts[-1].status if attempts else "applied"

    async def begin(self, journal: Journal) -> None:
        """What is about to be tried, on the disk before it is.

        Raises:
            TransientError: the disk refuses; nothing has changed.
        """
        await in_thread("keep-policy", lambda: self._store.keep(journal.kept))
        self.journal = journal

    async def keep(self, journal: Journal) -> None:
        """What happened is so, whatever the disk says: the next attempt tries to write it again."""
        self.journal = journal
        try:
            await in_thread("keep-policy", lambda: self._store.keep(journal.kept))
        except TransientError as error:
            log.warning("policy.not_kept", code=error.code, message=error.message)

    async def fail(self, attempt: PolicyAttempt, origin: Origin) -> None:
        """The attempt came to nothing, and is told."""
        await self.keep(self.journal.noted(attempt))
        self.report("failed")
        log.warning(
            "policy.refused",
            version=attempt.version,
            code=attempt.code,
            path=attempt.path,
            message=attempt.message,
            origin=origin,
        )
        self.tell(attempt.code, f"version {self.document.version} stays in force: {attempt.message}")

    async def settle(
        self, document: PolicyDocument, applied: Applied, attempt: PolicyAttempt, origin: Origin
    ) -> None:
        """The attempt has changed something, or has been undone."""
        is_in_force = applied.status != "rolled_back"
        if is_in_force:
            self._since_ns = self._clock.now().monotonic_ns
            self.document, self._origin = document.model_copy(update={"policy": applied.policy}), origin
            journal = self.journal.in_force(
                attempt, self.document, origin=origin, standings=applied.standings
            )
        else:
            journal = self.journal.noted(attempt, applied.standings)
        await self.keep(journal)
        self.report(applied.status)
        log.info("policy.applied", version=document.version, status=applied.status, origin=origin)
        if applied.error is None:
            self.tell_in_force()
        else:
            self.tell(applied.error.code, f"version {document.version}: {applied.error.message}")
        if is_in_force:
            self._on_applied(self.document)

    async def end_trial(self) -> None:
        """If the process has lived with what is in force for long enough, it needs not go back any more."""
        lived_s = (self._clock.now().monotonic_ns - self._since_ns) / 1e9
        if self.journal.kept.trial is not None and lived_s >= TRIAL_S:
            log.info("policy.proven", version=self.document.version)
            await self.keep(self.journal.proven())

    async def prove(self) -> None:
        """What the node began with has shown that the process lives with it."""
        attempt = self.ended(self.document.version, policy_sha256(self.document.policy), "applied")
        await self.keep(self.journal.in_force(attempt, self.document, origin=self._origin, standings={}))
        self.report("applied")
        self.tell_in_force()

    def report(
        self,
        status: PolicyStatus,
        under_way: PolicyAttempt | None = None,
        standings: Mapping[SourceName, SourceStanding] | None = None,
    ) -> None:
        """Say all of it on `config/reported`."""
        self._reporting.tell(
            status,
            self.document,
            self.journal,
            origin=self._origin,
            under_way=under_way,
            standings=standings,
        )

    def report_start(self) -> None:
        """Say what became of the last attempt before the process began, and what is in force."""
        attempts = self.journal.attempts
        self.report(self.last_status)
        if attempts and attempts[-1].status != "applied":
            message = f"version {self.document.version} is in force: {attempts[-1].message}"
            self.tell(attempts[-1].code, message)

    def tell(self, code: Code | None, message: str) -> None:
        """For health: not all is as somebody wants it."""
        self._on_condition(_WHO, "degraded", code, message)

    def tell_again(self, attempt: PolicyAttempt) -> None:
        """For health: what this attempt has come to is what counts, whatever was wanted since."""
        if attempt.status == "applied":
            self.tell_in_force()
        else:
            self.tell(attempt.code, f"version {attempt.version}: {attempt.message}")

    def tell_in_force(self) -> None:
        """For health: all is."""
        self._on_condition(_WHO, "ok", None, f"version {self.document.version} is in force")

    def announce(self) -> None:
        """What is in force is to be told of anew, for its files have changed."""
        log.info("policy.applied", version=self.document.version, status="applied", origin="file")
        self.tell_in_force()
        self._on_applied(self.document)
