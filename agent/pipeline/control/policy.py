"""Policies one after the other: judged, written down, tried, kept or undone, and told."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from agent.contract.policy import PolicyDocument
from agent.contract.reported import PolicyAttempt, policy_sha256
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.pipeline.control.journal import MOST_TRIES, Journal, check_not_expired
from agent.pipeline.control.pacing import Pace
from agent.pipeline.control.reconcile import Reconciler
from agent.pipeline.control.record import PolicyRecord
from agent.pipeline.control.reporting import Reporting
from agent.pipeline.supervise import attempt, in_thread
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Condition, Origin, PolicyStore

log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 8
_AGAIN_S: Final = 60.0
"""What was given up, with nothing else to run, is tried again when nobody has wanted another for so long."""
_PROVEN_S: Final = 3.0
"""What kills a process does it with the first frames."""
_LOOK_S: Final = 1.0
_READ_S: Final = 30.0


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
        again: PolicyDocument | None = None,
        proven_s: float = _PROVEN_S,
        again_s: float = _AGAIN_S,
    ) -> None:
        self._record = PolicyRecord(
            store=store,
            journal=journal,
            document=document,
            origin=origin,
            reporting=reporting,
            clock=clock,
            on_condition=on_condition,
            on_applied=on_applied,
        )
        self._is_pending = pending
        self._again = again
        self._proven_s = proven_s
        self._again_ns = clock.now().monotonic_ns + int(again_s * 1e9)
        self._reconciler = reconciler
        self._read = read
        self._check = check
        self._clock = clock
        self._pace = Pace(clock=clock)
        self._desired: bytes | None = None
        self._too_early: bytes | None = None
        self._waiting: deque[_Asked] = deque()
        self._work = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def document(self) -> PolicyDocument:
        """In force."""
        return self._record.document

    def want(self, payload: bytes) -> None:
        """What `config/desired` says. A newer one takes the place of one that still waits.

        It waits for its turn; under a flood also for its time.
        """
        self._desired, self._too_early = payload, None
        self._work.set()

    async def submit(self, document: PolicyDocument, origin: Origin) -> PolicyAttempt:
        """Try this document in its turn; what became of it.

        Raises:
            RefusedError: too many wait already, or came lately from afar (`E_BUSY`).
        """
        if len(self._waiting) >= _MOST_WAITING:
            message = f"{len(self._waiting)} policies wait to be applied already"
            raise RefusedError(message, code=Code.BUSY)
        if origin == "patch" and not self._pace.has_room:
            raise RefusedError("too many policies came lately; send it again in a while", code=Code.BUSY)
        answer: asyncio.Future[PolicyAttempt] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(document, origin, answer))
        self._work.set()
        return await answer

    async def reset(self) -> None:
        """Forget the floor, once nothing is being tried: any version may come next."""
        async with self._turn:
            await self._record.keep(self._record.journal.without_floor())
            self._record.report("applied")

    async def run(self) -> None:
        """Serve until cancelled."""
        self._record.report_start()
        if self._is_pending:
            await asyncio.sleep(self._proven_s)
            await self._record.prove()
        while True:
            await wait_for_event(self._work, timeout_s=_LOOK_S)
            self._work.clear()
            await self._look_again()
            while self._waiting or (self._desired is not None and self._pace.has_room):
                async with self._turn:
                    await self._next()

    async def reread(self, read: Callable[[], PolicyDocument]) -> None:
        """The node's file is to be tried as it is now; `read` reads it, in a thread."""
        log.info("policy.reading_again")
        try:
            await self.submit(await in_thread("read-policy", read), "file")
        except NanofleetError as error:
            log.warning("policy.refused", code=error.code, message=error.message, origin="file")
            self._record.tell(error.code, f"version {self.document.version} stays in force: {error.message}")

    async def _next(self) -> None:
        before = self.document
        if self._desired is not None and self._pace.has_room:
            payload, self._desired = self._desired, None
            await self._attempt_desired(payload)
        else:
            asked = self._waiting.popleft()
            ended = await self._attempt(asked.document, asked.origin)
            if not asked.answer.done():
                asked.answer.set_result(ended)
        self._pace.pay(in_vain=self.document is before)

    async def _look_again(self) -> None:
        """What could not be judged without the time, and sources that were waited for."""
        if self._too_early is not None and self._clock.synced():
            self.want(self._too_early)
        await self._record.end_trial()
        if self._again is not None and self._clock.now().monotonic_ns >= self._again_ns:
            again, self._again = self._again, None
            if self.document.version < again.version:
                async with self._turn:
                    await self._attempt(again, "file", once_more=True)
        answering = [name for name in self._record.journal.waiting if self._reconciler.is_well(name)]
        if answering:
            async with self._turn:
                await self._record.keep(self._record.journal.answering(answering))
                self._record.report(self._record.last_status)

    async def _attempt_desired(self, payload: bytes) -> None:
        try:
            work = in_thread("read-policy", lambda: self._read(payload))
            document = await attempt("read-policy", work, timeout_s=_READ_S)
        except NanofleetError as error:
            if error.code == Code.CLOCK and self._desired is None:
                self._too_early = payload
            sha256 = hashlib.sha256(payload).hexdigest()
            if self._record.journal.last(None, sha256) is None:  # it is read again at every connect
                await self._record.fail(self._record.ended(None, sha256, "failed", error), "mqtt")
            return
        if self._record.journal.is_behind(document, policy_sha256(document.policy)):
            self._record.report(self._record.last_status)  # it comes at every connect
        else:
            await self._attempt(document, "mqtt")

    async def _attempt(
        self, document: PolicyDocument, origin: Origin, *, once_more: bool = False
    ) -> PolicyAttempt:
        record, version, sha256 = self._record, document.version, policy_sha256(document.policy)
        if origin == "mqtt":
            record.journal = record.journal.desired(sha256)
        if record.journal.is_known(document, sha256) and not once_more:
            known = record.journal.last(version, sha256) or record.ended(version, sha256, "applied")
            if origin == "file" and version == self.document.version:
                await self._look_at_files()
            else:
                record.tell_again(known)
            record.report(known.status)
            return known
        try:
            record.journal.check(document, sha256)
            if self._clock.synced():  # else nobody can tell
                check_not_expired(document, wall_ns=self._clock.now().wall_ns)
            await self._begin(version, sha256)
            record.report("applying", record.ended(version, sha256, "applying"))
            work = in_thread("check-policy", lambda: self._check(document))
            await attempt("check-policy", work, timeout_s=_READ_S)
            applied = await self._reconciler.apply(
                document.policy,
                version=version,
                before=record.versions,
                look_at_files=origin in {"file", "local"},
                on_probation=lambda standings: record.report(
                    "probation", record.ended(version, sha256, "probation"), standings
                ),
            )
        except NanofleetError as error:
            failed = record.ended(version, sha256, "failed", error)
            await record.fail(failed, origin)
            return failed
        ended = record.ended(version, sha256, applied.status, applied.error)
        await record.settle(document, applied, ended, origin)
        return ended

    async def _begin(self, version: int, sha256: str) -> None:
        """On the disk before anything is tried.

        Raises:
            RefusedError: the process has ended in it twice (`E_CRASHED`).
            TransientError: the disk refuses.
        """
        begun = self._record.journal.begun(version, sha256)
        unfinished = begun.kept.unfinished
        if unfinished is not None and unfinished.tries > MOST_TRIES:
            raise RefusedError(
                f"the agent ended {MOST_TRIES} times while version {version} was being applied; "
                "it is not tried again",
                code=Code.CRASHED,
                path="/policy",
            )
        await self._record.begin(begun)

    async def _look_at_files(self) -> None:
        """What is in force names files that may have been replaced."""
        try:
            applied = await self._reconciler.apply(
                self.document.policy,
                version=self.document.version,
                before=self._record.versions,
                look_at_files=True,
                on_probation=lambda _standings: None,
            )
        except NanofleetError as error:
            self._record.tell(error.code, error.message)
            return
        self._record.announce()
        if applied.error is not None:
            self._record.tell(applied.error.code, applied.error.message)
