"""Policies one after the other: judged, written down, tried, kept or undone, and told."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from agent.contract.policy import PolicyDocument
from agent.contract.reported import (
    PolicyAttempt,
    PolicyStatus,
    SourceStanding,
    policy_sha256,
)
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from agent.domain.ids import SourceName
from agent.domain.stamp import rfc3339
from agent.pipeline.control.journal import MOST_TRIES, Journal
from agent.pipeline.control.reconcile import Applied, Reconciler
from agent.pipeline.control.reporting import Reporting
from agent.pipeline.supervise import in_thread
from agent.ports import Clock, Condition, Origin, PolicyStore

log = structlog.get_logger(__name__)

_WHO: Final = "policy"
_MOST_WAITING: Final = 8
_PROVEN_S: Final = 3.0
"""What kills a process does it with the first frames."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A document that waits for its turn; `answer` gets what became of it."""

    document: PolicyDocument
    origin: Origin
    answer: "asyncio.Future[PolicyAttempt]"


class PolicyControl:
    """The one writer of the policy. Used on the event loop.

    `read` makes a document of what came on `config/desired`, and `check` raises FaultyDocumentError for what
    Settings do not permit; both in a thread. `on_applied` hears of the document in force, on the loop.
    """

    def __init__(
        self,
        *,
        store: PolicyStore,
        journal: Journal,
        document: PolicyDocument,
        origin: Origin,
        pending: bool,
        reconciler: Reconciler,
        read: Callable[[bytes], PolicyDocument],
        check: Callable[[PolicyDocument], None],
        reporting: Reporting,
        clock: Clock,
        on_condition: Condition,
        on_applied: Callable[[PolicyDocument], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._document = document
        self._origin: Origin = origin
        self._is_pending = pending
        self._reconciler = reconciler
        self._read = read
        self._check = check
        self._reporting = reporting
        self._clock = clock
        self._on_condition = on_condition
        self._on_applied = on_applied
        self._desired: bytes | None = None
        self._waiting: deque[_Asked] = deque()
        self._work = asyncio.Event()

    @property
    def document(self) -> PolicyDocument:
        """In force."""
        return self._document

    def want(self, payload: bytes) -> None:
        """What `config/desired` says. A newer one takes the place of one that still waits."""
        self._desired = payload
        self._work.set()

    async def submit(self, document: PolicyDocument, origin: Origin) -> PolicyAttempt:
        """Try this document in its turn; what became of it.

        Raises:
            RefusedError: too many wait already (`E_BUSY`).
        """
        if len(self._waiting) >= _MOST_WAITING:
            message = f"{len(self._waiting)} policies wait to be applied already"
            raise RefusedError(message, code=Code.BUSY)
        answer: asyncio.Future[PolicyAttempt] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(document, origin, answer))
        self._work.set()
        return await answer

    async def reset(self) -> None:
        """Forget the floor: any version may come next."""
        await self._keep(self._journal.without_floor())
        self._report("applied")

    async def run(self) -> None:
        """Serve until cancelled."""
        self._report(self._status)
        if self._is_pending:
            await self._prove_first()
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting or self._desired is not None:
                if self._desired is not None:
                    payload, self._desired = self._desired, None
                    await self._attempt_desired(payload)
                else:
                    asked = self._waiting.popleft()
                    attempt = await self._attempt(asked.document, asked.origin)
                    if not asked.answer.done():
                        asked.answer.set_result(attempt)

    async def reread(self, read: Callable[[], PolicyDocument]) -> None:
        """The node's file is to be tried as it is now; `read` reads it, in a thread."""
        log.info("policy.reading_again")
        try:
            await self.submit(await in_thread("read-policy", read), "file")
        except NanofleetError as error:
            log.warning("policy.refused", code=error.code, message=error.message, origin="file")
            message = f"version {self._document.version} stays in force: {error.message}"
            self._on_condition(_WHO, "degraded", error.code, message)

    async def _prove_first(self) -> None:
        """The policy that the node began with has run for a while, and the process lives."""
        await asyncio.sleep(_PROVEN_S)
        sha256 = policy_sha256(self._document.policy)
        attempt = self._ended(self._document.version, sha256, "applied")
        await self._keep(self._journal.in_force(attempt, self._document, origin=self._origin, standings={}))
        self._report("applied")

    async def _attempt_desired(self, payload: bytes) -> None:
        try:
            document = await in_thread("read-policy", lambda: self._read(payload))
        except NanofleetError as error:
            sha256 = hashlib.sha256(payload).hexdigest()
            if self._journal.last(None, sha256) is None:  # it is read again at every connect
                attempt = self._ended(
                    None, sha256, "failed", code=error.code, path=error.path or None, message=error.message
                )
                await self._keep(self._journal.noted(attempt))
                self._tell_failed(attempt, "mqtt")
            return
        await self._attempt(document, "mqtt")

    async def _attempt(self, document: PolicyDocument, origin: Origin) -> PolicyAttempt:
        sha256 = policy_sha256(document.policy)
        if origin == "mqtt":
            self._journal = self._journal.desired(sha256)
        ended = partial(self._ended, document.version, sha256)
        if self._journal.is_known(document, sha256):
            if origin == "file" and document.version == self._document.version:
                await self._look_at_files()
            self._report(self._status)
            return self._journal.last(document.version, sha256) or ended("applied")
        try:
            self._journal.check(document, sha256)
            self._check_time(document)
            await self._begin(document, sha256)
            self._report("applying", ended("applying"))
            await in_thread("check-policy", lambda: self._check(document))
            applied = await self._reconciler.apply(
                document.policy,
                version=document.version,
                before={name: each.version for name, each in self._journal.sources.items()},
                look_at_files=origin in {"file", "local"},
                on_probation=lambda standings: self._report("probation", ended("probation"), standings),
            )
        except NanofleetError as error:
            attempt = ended("failed", code=error.code, path=error.path or None, message=error.message)
            await self._keep(self._journal.noted(attempt))
            self._tell_failed(attempt, origin)
            return attempt
        attempt = ended(applied.status, code=applied.code, path=applied.path, message=applied.message)
        await self._settle(document, applied, attempt, origin)
        return attempt

    async def _look_at_files(self) -> None:
        """What is in force names files that may have been replaced."""
        try:
            await self._reconciler.apply(
                self._document.policy,
                version=self._document.version,
                before={},
                look_at_files=True,
                on_probation=lambda _standings: None,
            )
        except NanofleetError as error:
            self._on_condition(_WHO, "degraded", error.code, error.message)
        else:
            log.info("policy.applied", version=self._document.version, status="applied", origin="file")
            message = f"version {self._document.version} is in force"
            self._on_condition(_WHO, "ok", None, message)
            self._on_applied(self._document)

    async def _begin(self, document: PolicyDocument, sha256: str) -> None:
        """On the disk before anything is tried.

        Raises:
            RefusedError: the process has ended in it twice (`E_CRASHED`).
            TransientError: the disk refuses.
        """
        begun = self._journal.begun(document.version, sha256)
        unfinished = begun.kept.unfinished
        if unfinished is not None and unfinished.tries > MOST_TRIES:
            raise RefusedError(
                f"the agent ended {MOST_TRIES} times while version {document.version} was being applied; "
                "it is not tried again",
                code=Code.CRASHED,
                path="/policy",
            )
        await in_thread("keep-policy", lambda: self._store.keep(begun.kept))
        self._journal = begun

    async def _settle(
        self, document: PolicyDocument, applied: Applied, attempt: PolicyAttempt, origin: Origin
    ) -> None:
        is_in_force = applied.status != "rolled_back"
        if is_in_force:
            self._document, self._origin = document.model_copy(update={"policy": applied.policy}), origin
            journal = self._journal.in_force(
                attempt, self._document, origin=origin, standings=applied.standings
            )
        else:
            journal = self._journal.noted(attempt, applied.standings)
        await self._keep(journal)
        self._report(applied.status)
        log.info("policy.applied", version=document.version, status=applied.status, origin=origin)
        if applied.status == "applied":
            self._on_condition(_WHO, "ok", None, f"version {document.version} is in force")
        else:
            message = f"version {document.version}: {applied.message}"
            self._on_condition(_WHO, "degraded", applied.code, message)
        if is_in_force:
            self._on_applied(self._document)

    async def _keep(self, journal: Journal) -> None:
        """What happened is so, whatever the disk says: the next attempt tries to write it again."""
        self._journal = journal
        try:
            await in_thread("keep-policy", lambda: self._store.keep(journal.kept))
        except TransientError as error:
            log.warning("policy.not_kept", code=error.code, message=error.message)

    def _check_time(self, document: PolicyDocument) -> None:
        """Raises: RefusedError (it has expired; without a clock that is right nobody can tell)."""
        if document.expires_at is None or not self._clock.synced():
            return
        if datetime.fromisoformat(document.expires_at).timestamp() * 1e9 <= self._clock.now().wall_ns:
            message = f"it has expired at {document.expires_at}"
            raise RefusedError(message, code=Code.EXPIRED, path="/expires_at")

    @property
    def _status(self) -> PolicyStatus:
        attempts = self._journal.attempts
        return attempts[-1].status if attempts else "applied"

    def _ended(
        self,
        version: int | None,
        sha256: str,
        status: PolicyStatus,
        *,
        code: Code | None = None,
        path: str | None = None,
        message: str = "",
    ) -> PolicyAttempt:
        at = rfc3339(self._clock.now().wall_ns)
        return PolicyAttempt(
            version=version, sha256=sha256, status=status, code=code, path=path, message=message, at=at
        )

    def _tell_failed(self, attempt: PolicyAttempt, origin: Origin) -> None:
        self._report("failed")
        log.warning(
            "policy.refused",
            version=attempt.version,
            code=attempt.code,
            path=attempt.path,
            message=attempt.message,
            origin=origin,
        )
        self._on_condition(
            _WHO,
            "degraded",
            attempt.code,
            f"version {self._document.version} stays in force: {attempt.message}",
        )

    def _report(
        self,
        status: PolicyStatus,
        under_way: PolicyAttempt | None = None,
        standings: Mapping[SourceName, SourceStanding] | None = None,
    ) -> None:
        self._reporting.tell(
            status,
            self._document,
            self._journal,
            origin=self._origin,
            under_way=under_way,
            standings=standings,
        )
