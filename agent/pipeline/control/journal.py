"""What is remembered of policies: the one in force, and what became of the last attempts. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from agent.contract.canonical import sha256_of
from agent.contract.policy import PolicyDocument
from agent.contract.reported import MOST_ATTEMPTS, PolicyAttempt, SourceStanding
from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName
from agent.ports import KeptPolicy, Origin, Trial, Unfinished

MOST_TRIES: Final = 2
"""An attempt in which the process ended is made once more; so is a life with what is on trial."""


@dataclass(frozen=True, slots=True)
class Journal:
    """`kept` is what is on the disk, or is to be put there."""

    kept: KeptPolicy

    @property
    def attempts(self) -> tuple[PolicyAttempt, ...]:
        return tuple(PolicyAttempt.model_validate(each) for each in self.kept.attempts)

    def last(self, version: int | None, sha256: str) -> PolicyAttempt | None:
        """The newest attempt at this document."""
        for attempt in reversed(self.attempts):
            if (attempt.version, attempt.sha256) == (version, sha256):
                return attempt
        return None

    @property
    def sources(self) -> dict[str, SourceStanding]:
        return {name: SourceStanding.model_validate(each) for name, each in self.kept.sources.items()}

    @property
    def waiting(self) -> list[SourceName]:
        """Sources that did not answer when they were probed, and were not heard of since."""
        return [SourceName(name) for name, each in self.kept.sources.items() if each["status"] == "waiting"]

    def answering(self, names: Collection[SourceName]) -> "Journal":
        """These do answer by now."""
        known = self.sources
        return Journal(
            replace(
                self.kept,
                sources=self._sources(
                    {name: SourceStanding(version=known[name].version, status="applied") for name in names}
                ),
            )
        )

    def is_known(self, document: PolicyDocument, sha256: str) -> bool:
        """It is in force, or it was tried and will not be tried again: the same again says nothing new.

        What was in force once, and is no more, is not known: it is no newer than what is.
        """
        version, in_force = self._in_force()
        if (version, in_force) == (document.version, sha256):
            return True
        last = self.last(document.version, sha256)
        if last is None or last.code in _MAY_WORK_LATER:
            return False
        return last.status in GIVEN_UP or (last.status == "partial" and document.version == version)

    def is_behind(self, document: PolicyDocument, sha256: str) -> bool:
        """`config/desired` says what it said before, and what was changed here is ahead of it."""
        version, _ = self._in_force()
        return (
            self.kept.origin in {"patch", "local"}
            and sha256 == self.kept.desired_sha256
            and version is not None
            and document.version < version
            and document.version <= self.kept.floor
        )

    def check(self, document: PolicyDocument, sha256: str) -> None:
        """The newest that ever was in force may come back, where Settings made it give way to an older one.

        Raises:
            RefusedError: it is no newer than what is in force, or another under the same version.
        """
        version, in_force = self._in_force()
        if document.version == version and sha256 != in_force:
            raise RefusedError(
                f"version {version} is in force with other content; raise the version with each change",
                code=Code.CONFLICT,
                path="/version",
            )
        last = self.last(document.version, sha256)
        was_the_newest = document.version == self.kept.floor and last is not None and last.status == "applied"
        if document.version <= self.kept.floor and not was_the_newest:
            raise RefusedError(
                f"version {document.version} is not above {self.kept.floor}, which was reached already; "
                "raise it with each change",
                code=Code.STALE,
                path="/version",
            )

    def begun(self, version: int, sha256: str) -> "Journal":
        """An attempt, once more where the process ended in it. `tries` says which it is."""
        before = self.kept.unfinished
        again = before is not None and (before.version, before.sha256) == (version, sha256)
        tries = before.tries + 1 if before is not None and again else 1
        return Journal(replace(self.kept, unfinished=Unfinished(version, sha256, tries)))

    def desired(self, sha256: str) -> "Journal":
        """What `config/desired` wants."""
        return Journal(replace(self.kept, desired_sha256=sha256))

    def noted(
        self, attempt: PolicyAttempt, standings: Mapping[SourceName, SourceStanding] | None = None
    ) -> "Journal":
        """The attempt has ended so; the document in force is the same."""
        return Journal(replace(self._with(attempt), sources=self._sources(standings or {})))

    def in_force(
        self,
        attempt: PolicyAttempt,
        document: PolicyDocument,
        *,
        origin: Origin,
        standings: Mapping[SourceName, SourceStanding],
    ) -> "Journal":
        """The attempt has ended so, and `document` is in force from now on."""
        known = self.sources
        told: dict[SourceName, SourceStanding] = {}
        for name in map(SourceName, document.policy.sources):
            # What was not touched goes by this version too; whether it answers by now, nobody has looked.
            before = known.get(name)
            waits = before is not None and before.status == "waiting"
            told[name] = standings.get(name) or SourceStanding(
                version=document.version,
                status="waiting" if waits else "applied",
                code=before.code if waits and before else None,
            )
        return Journal(
            replace(
                self._with(attempt),
                document=document.model_dump(mode="json", by_alias=True, exclude_unset=True),
                origin=origin,
                floor=max(self.kept.floor, document.version),
                sources={str(name): each.model_dump(mode="json") for name, each in told.items()},
                trial=self._trial_of(document),
            )
        )

    def untried(self) -> "Journal":
        """The process ends in order: no fault of what is tried, which is made anew."""
        trial = self.kept.trial
        return Journal(
            replace(self.kept, unfinished=None, trial=None if trial is None else replace(trial, lives=0))
        )

    def proven(self) -> "Journal":
        """The process has lived with what is in force."""
        return Journal(replace(self.kept, trial=None))

    def next_life(self) -> "Journal":
        """A process begins with what is in force, once more where that is on trial."""
        trial = self.kept.trial
        return (
            self
            if trial is None
            else Journal(replace(self.kept, trial=replace(trial, lives=trial.lives + 1)))
        )

    def gone_back(self, attempt: PolicyAttempt) -> "Journal":
        """What is in force has ended the process too often: what was before is again, and that is told."""
        trial = self.kept.trial
        if trial is None:
            return Journal(self._with(attempt))
        kept = replace(self._with(attempt), document=trial.previous, origin=trial.origin)
        return Journal(replace(kept, trial=None, sources={}))

    def without_floor(self) -> "Journal":
        """Any version may come next; what is in force stays until then."""
        return Journal(replace(self.kept, floor=-1, attempts=(), unfinished=None))

    def _trial_of(self, document: PolicyDocument) -> Trial | None:
        """Another document is on trial, against the last one that was not."""
        kept = self.kept
        written = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if kept.document is None or kept.document == written:
            return kept.trial
        previous = kept.trial or Trial(kept.document, kept.origin)
        return None if previous.previous == written else replace(previous, lives=1)

    def _with(self, attempt: PolicyAttempt) -> KeptPolicy:
        attempts = (*self.kept.attempts, attempt.model_dump(mode="json"))[-MOST_ATTEMPTS:]
        begun = self.kept.unfinished
        is_of_another = begun is not None and (begun.version, begun.sha256) != (
            attempt.version,
            attempt.sha256,
        )
        return replace(self.kept, attempts=attempts, unfinished=begun if is_of_another else None)

    def _sources(self, standings: Mapping[SourceName, SourceStanding]) -> dict[str, Any]:
        told = {str(name): each.model_dump(mode="json") for name, each in standings.items()}
        return {**self.kept.sources, **told}

    def _in_force(self) -> tuple[int, str] | tuple[None, None]:
        document: Mapping[str, Any] | None = self.kept.document
        if document is None:
            return None, None
        # As it is written down: to validate a large one anew, three times an attempt, holds up the loop.
        return document["version"], sha256_of(document["policy"])


def check_not_expired(document: PolicyDocument, *, wall_ns: int) -> None:
    """Raises: RefusedError (`E_EXPIRED`, by a clock that is right)."""
    expires_at = document.expires_at
    if expires_at is not None and datetime.fromisoformat(expires_at).timestamp() * 1e9 <= wall_ns:
        raise RefusedError(f"it has expired at {expires_at}", code=Code.EXPIRED, path="/expires_at")


GIVEN_UP: Final = frozenset({"failed", "rolled_back"})
"""How an attempt ends that is not made again."""

_MAY_WORK_LATER: Final = frozenset({Code.SPACE})
"""A full disk is no fault of the document's: it is tried whenever it comes again."""
