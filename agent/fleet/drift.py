"""Whether a node runs the policy that it should, and where the two differ. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.contract.differences import differences
from agent.contract.problems import KeyPath, Problem
from agent.fleet.policy_answers import Answer, foreseen_refusal
from agent.fleet.told import ToldConfig, ToldStanding
from agent.fleet.wishes import Wish, version_and_hash

ABSENT: Final = object()
"""In place of a value that one of two documents has, and the other has not."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place, as a JSON pointer into the policy; `ABSENT` where one side has nothing there."""

    path: str
    wanted: Any
    reported: Any


@dataclass(frozen=True, slots=True)
class Drift:
    """One node. `reported` None: nothing is known of it."""

    wish: Wish
    reported: ToldConfig | None
    differences: Sequence[Difference]
    other_desired: bool = False
    """Another document waits on `config/desired`, and comes at every connect."""

    @property
    def is_drift(self) -> bool:
        """Another version, other content, a change made at the node, or a policy that is not wholly applied.

        Also another document on `config/desired`. A source that does not answer, and is tried again, is none.
        """
        told = self.reported
        return (
            told is None
            or told.version != self.wish.version
            or told.effective_sha256 != self.wish.sha256
            or told.diverged
            or told.status_in_force != "applied"
            or self.other_desired
        )

    @property
    def refusal(self) -> Answer | None:
        """Why the node would refuse it now, if that is known."""
        return foreseen_refusal(self.wish, self.reported)

    @property
    def unsettled(self) -> dict[str, ToldStanding]:
        """The sources that do not run by the policy wanted, or wait."""
        if self.reported is None:
            return {}
        return {
            name: source
            for name, source in self.reported.sources.items()
            if source.status != "applied" or source.version != self.reported.version
        }


def drift_of(wish: Wish, reported: ToldConfig | None, desired: bytes | None = None) -> Drift:
    """Hold what a node reports, and what waits for it on `config/desired`, against what it should run."""
    other_desired = desired is not None and version_and_hash(desired) != (wish.version, wish.sha256)
    if reported is None:
        return Drift(wish, None, (), other_desired)
    places = differences(wish.policy, reported.policy)
    return Drift(
        wish,
        reported,
        tuple(
            Difference(
                Problem(message="", path=place).pointer,
                _at(wish.policy, place),
                _at(reported.policy, place),
            )
            for place in places
        ),
        other_desired,
    )


def as_json(drift: Drift) -> dict[str, Any]:
    """For a program, both documents whole among it; null for a value that is not there."""
    told = drift.reported
    return {
        "drift": drift.is_drift,
        "wanted_version": drift.wish.version,
        "reported_version": None if told is None else told.version,
        "wanted_sha256": drift.wish.sha256,
        "reported_sha256": None if told is None else told.effective_sha256,
        "status": None if told is None else told.status_in_force,
        "diverged": None if told is None else told.diverged,
        "other_desired": drift.other_desired,
        "refusal": None
        if (refusal := drift.refusal) is None
        else {"code": refusal.code, "path": refusal.path, "message": refusal.message},
        "sources": {name: source.model_dump(mode="json") for name, source in drift.unsettled.items()},
        "differences": [
            {"path": each.path, "wanted": _or_none(each.wanted), "reported": _or_none(each.reported)}
            for each in drift.differences
        ],
        "wanted": drift.wish.policy,
        "reported": None if told is None else told.policy,
    }


def _at(document: object, place: KeyPath) -> object:
    for part in place:
        if not isinstance(document, Mapping) or part not in document:
            return ABSENT
        document = document[part]
    return document


def _or_none(value: object) -> object:
    return None if value is ABSENT else value
