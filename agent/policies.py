"""Which policy a node begins with, and what a policy has to be for this node."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog
from pydantic import ValidationError

from agent.contract.canonical import sha256_of
from agent.contract.json_text import read_json
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.policy_text import parse_policy
from agent.contract.problems import FaultyDocumentError
from agent.contract.reported import PolicyAttempt, as_written, policy_sha256
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.ids import SourceName
from agent.domain.stamp import rfc3339
from agent.pipeline.control.journal import GIVEN_UP, MOST_TRIES, Journal
from agent.ports import Clock, KeptPolicy, Origin, PolicyInbox, PolicyStore
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import LoadedShadows
from agent.settings import Settings
from agent.settings.permits import breaches

log = structlog.get_logger(__name__)

NOTHING: Final = PolicyDocument(version=0, issuer="nanofleet", policy=Policy())
"""What a node runs that may not run what it has: nothing, so that it can be told something better."""


@dataclass(frozen=True, slots=True)
class Rereading:
    """How somebody asks, by setting `asked` on the loop, and what then reads the document, in a thread."""

    asked: asyncio.Event
    read: Callable[[], PolicyDocument]


@dataclass(frozen=True, slots=True)
class FirstPolicy:
    """`pending`: it has never run here before, and has to show that the process lives with it.

    `again`: what was given up though there is nothing else, and is to be tried once more after a while.
    """

    document: PolicyDocument
    origin: Origin
    journal: Journal
    pending: bool = False
    again: PolicyDocument | None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """What the agent needs to take another policy: see `PolicyControl` and `Reconciler`."""

    store: PolicyStore
    inbox: PolicyInbox
    read: Callable[[bytes], PolicyDocument]
    """Of what came over MQTT; `read_local` of what a person at the node left."""
    read_local: Callable[[bytes], PolicyDocument]
    check: Callable[[PolicyDocument], None]
    plan_lanes: Callable[[Policy], LanePlan]
    load_shadows: Callable[[Policy], LoadedShadows]
    rereading: Rereading

    @staticmethod
    def mixture(policy: Policy, others: Mapping[SourceName, Policy]) -> Policy:
        """`policy`, but with these sources as another policy has them.

        Raises:
            RefusedError: that is no valid policy.
        """
        written = as_written(policy)
        stanzas = {name: as_written(other)["sources"][name] for name, other in others.items()}
        try:
            return Policy.model_validate({**written, "sources": {**written["sources"], **stanzas}})
        except ValidationError as error:
            first = error.errors()[0]
            raise RefusedError(str(first["msg"]), code=Code.ROLLED_BACK, path="/policy") from error


def read_policy(text: bytes) -> PolicyDocument:
    """A policy document in JSON.

    Raises:
        FaultyDocumentError: it is none.
    """
    return parse_policy(read_json(text))


def check_permitted(policy: Policy, settings: Settings) -> None:
    """Reads files.

    Raises:
        FaultyDocumentError: Settings do not permit a part of it, or a model is not there.
    """
    problems = [problem.below("policy") for problem in breaches(policy, settings)]
    if problems:
        raise FaultyDocumentError(problems)


def first_policy(
    store: PolicyStore, settings: Settings, *, read: Callable[[], PolicyDocument], clock: Clock
) -> FirstPolicy:
    """The file's, or the one that was in force, whichever has the higher version. Reads and writes files.

    A file that cannot be used is told, and the node goes on with what was in force.

    Raises:
        ConfigError, RefusedError: there is nothing else that it could run.
    """
    journal = _next_life(store, _journal_of(store.load()), clock)
    kept = _kept_document(journal.kept, settings)
    if kept is None:
        journal = Journal(replace(journal.kept, document=None))  # its floor and its attempts hold
    try:
        document = read()
    except NanofleetError as error:
        if kept is None:
            raise
        log.warning("policy.file_unusable", code=error.code, message=error.message, running=kept.version)
        return FirstPolicy(kept, journal.kept.origin, journal)
    if kept is not None and kept.version >= document.version:
        if policy_sha256(kept.policy) != policy_sha256(document.policy):
            log.info("policy.file_outdated", file_version=document.version, running=kept.version)
        return FirstPolicy(kept, journal.kept.origin, journal)
    sha256 = policy_sha256(document.policy)
    begun = journal.begun(document.version, sha256)
    unfinished = begun.kept.unfinished
    failed = journal.last(document.version, sha256)
    if failed is not None and failed.status in GIVEN_UP and kept is not None:
        log.warning("policy.file_given_up", version=document.version, code=failed.code, running=kept.version)
        return FirstPolicy(kept, journal.kept.origin, journal)
    if unfinished is not None and unfinished.tries > MOST_TRIES:
        given_up = journal.noted(_crashed(document.version, sha256, clock))
        _try_to_keep(store, given_up)
        if kept is not None:
            return FirstPolicy(kept, journal.kept.origin, given_up)
        return FirstPolicy(NOTHING, "file", Journal(replace(given_up.kept, floor=-1)), again=document)
    _try_to_keep(store, begun)
    return FirstPolicy(document, "file", begun, pending=True)


def without_first(
    first: FirstPolicy, error: NanofleetError, *, store: PolicyStore, clock: Clock, settings: Settings
) -> FirstPolicy:
    """What to run where the first one could not even be loaded.

    Raises:
        NanofleetError: there is nothing else: `error`.
    """
    kept = _kept_document(first.journal.kept, settings)
    if not first.pending or kept is None:
        raise error
    attempt = PolicyAttempt(
        version=first.document.version,
        sha256=policy_sha256(first.document.policy),
        status="failed",
        code=error.code,
        path=error.path or None,
        message=error.message,
        at=rfc3339(clock.now().wall_ns),
    )
    log.warning("policy.refused", version=attempt.version, code=error.code, message=error.message)
    noted = first.journal.noted(attempt)
    _try_to_keep(store, noted)
    return FirstPolicy(kept, noted.kept.origin, noted)


def forgive(store: PolicyStore) -> None:
    """The process ends in order, or for what is no policy's fault: what was being tried is tried anew."""
    journal = Journal(store.load())
    if journal.kept.unfinished is not None or journal.kept.trial is not None:
        _try_to_keep(store, journal.untried())


def _next_life(store: PolicyStore, journal: Journal, clock: Clock) -> Journal:
    """A process begins with what is in force; if that is on trial and has ended two, with what was before."""
    trial, document = journal.kept.trial, journal.kept.document
    if trial is None or document is None or journal.kept.unfinished is not None:
        return journal  # an attempt that was under way is more likely why
    if trial.lives < MOST_TRIES:
        journal = journal.next_life()
    else:
        journal = journal.gone_back(_crashed(document["version"], sha256_of(document["policy"]), clock))
    _try_to_keep(store, journal)
    return journal


def _crashed(version: int, sha256: str, clock: Clock) -> PolicyAttempt:
    log.error("policy.crashed", version=version, tries=MOST_TRIES)
    return PolicyAttempt(
        version=version,
        sha256=sha256,
        status="failed",
        code=Code.CRASHED,
        path="/policy",
        message=f"the agent ended {MOST_TRIES} times with version {version}; it is not tried again",
        at=rfc3339(clock.now().wall_ns),
    )


def _kept_document(kept: KeptPolicy, settings: Settings) -> PolicyDocument | None:
    """What was in force, if it is a policy for this agent and these Settings still."""
    if kept.document is None:
        return None
    try:
        document = PolicyDocument.model_validate(kept.document)
        check_permitted(document.policy, settings)
    except (ValidationError, FaultyDocumentError) as error:
        log.warning("policy.kept_unusable", error=str(error))
        return None
    return document


def _journal_of(kept: KeptPolicy) -> Journal:
    """Attempts of another version of the agent, which may know other codes, are forgotten."""
    try:
        Journal(kept).attempts, Journal(kept).sources
    except ValidationError as error:
        log.warning("policy.attempts_unreadable", error=str(error))
        return Journal(replace(kept, attempts=(), sources={}))
    return Journal(kept)


def _try_to_keep(store: PolicyStore, journal: Journal) -> None:
    try:
        store.keep(journal.kept)
    except NanofleetError as error:
        log.warning("policy.not_kept", code=error.code, message=error.message)
