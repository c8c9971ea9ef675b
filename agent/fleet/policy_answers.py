"""What a node says to a policy that it was given: its last word, if it has one. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.domain.errors import Code
from agent.fleet.sighting import Sighting
from agent.fleet.told import NOTHING_CAME_OF_IT, ToldAttempt, ToldConfig
from agent.fleet.wishes import Wish

_GRACE_S: Final = 3.0
"""So long a node has to say more of a policy that it has refused before, and may try again."""
_CAME_INTO_FORCE: Final = frozenset({"applied", "partial"})


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is the contract's, or `refused` (not sent, or not taken by the broker) or `unanswered`."""

    status: str
    code: str | None = None
    path: str | None = None
    message: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Those that do not run by it, and why."""

    @property
    def is_well(self) -> bool:
        return self.status == "applied"


def foreseen_refusal(wish: Wish, config: ToldConfig | None) -> Answer | None:
    """What a node that reports `config` could only refuse; None: it may take it, for all that is known.

    A version below the one in force is stale only as long as the attempt is told by which that came: whoever
    forgets the floor (`nanofleet policy reset`) forgets the attempts as well.
    """
    if config is None or wish.version > config.version or _in_force(wish, config):
        return None
    came = [one for one in config.attempts if one.status in _CAME_INTO_FORCE]
    if wish.version == config.version:
        if any((one.version, one.sha256) == (wish.version, wish.sha256) for one in came):
            return None  # some of its sources kept what they had: it says so again
        message = f"version {wish.version} is in force with other content"
        return Answer("refused", Code.CONFLICT, "/version", f"{message}: raise the version with each change")
    if any(one.version == config.version for one in came):
        message = f"version {wish.version} is below {config.version}, which is in force"
        return Answer("refused", Code.STALE, "/version", f"{message}: raise it with each change")
    return None


@dataclass(slots=True)
class Question:
    """One node and the policy that it is asked to run, published at `asked_s` (monotonic seconds)."""

    wish: Wish
    before: ToldConfig | None
    """What it reported until then."""
    asked_s: float

    @property
    def was_in_force(self) -> bool:
        """The node ran by it before it was asked."""
        return self.before is not None and _in_force(self.wish, self.before)

    def answer(self, config: ToldConfig | None, *, now_s: float) -> Answer | None:
        """The node's last word; None: it has none yet."""
        if config is None:
            return None
        if _in_force(self.wish, config):
            return Answer("applied", sources=_standings(config)) if _is_settled(config) else None
        attempt = self._attempt(config)
        if attempt is None or attempt.status not in {*NOTHING_CAME_OF_IT, "partial"}:
            return None
        if attempt == self._attempt(self.before) and now_s - self.asked_s < _GRACE_S:
            return None
        sources = _standings(config) if attempt.status == "partial" else {}
        return Answer(attempt.status, attempt.code, attempt.path, attempt.message, sources)

    def none_yet(self, sighting: Sighting) -> Answer:
        """Why there is no last word, as far as can be told."""
        config = sighting.config
        if not sighting.is_known:
            return Answer("unanswered", message="nothing was ever heard of it")
        if not sighting.online:
            return Answer("unanswered", message="it is offline; the policy waits for it at the broker")
        if config is not None and config.version > self.wish.version:
            return Answer("unanswered", message=f"version {config.version}, which is newer, is in force")
        attempt = self._attempt(config)
        if attempt is not None:
            return Answer("unanswered", message=f"it is at it ({attempt.status})")
        return Answer("unanswered", message="it has not said a word; may it read its config/desired?")

    def _attempt(self, config: ToldConfig | None) -> ToldAttempt | None:
        """The newest at this very document, which a node that could not read it knows by all of it."""
        known_by = {
            (self.wish.version, self.wish.sha256),
            (None, hashlib.sha256(self.wish.payload).hexdigest()),
        }
        attempts = () if config is None else reversed(config.attempts)
        return next((one for one in attempts if (one.version, one.sha256) in known_by), None)


def _in_force(wish: Wish, config: ToldConfig) -> bool:
    return (config.version, config.effective_sha256) == (wish.version, wish.sha256)


def _is_settled(config: ToldConfig) -> bool:
    return config.status_in_force == "applied"


def _standings(config: ToldConfig) -> dict[str, str]:
    return {
        name: f"{source.status} {source.code or ''}".rstrip()
        for name, source in config.sources.items()
        if source.status != "applied"
    }
