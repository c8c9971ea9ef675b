"""The command `what-if`: a patched policy tried on what was seen lately, before anybody applies it."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.contract.json_text import read_json
from agent.contract.merge_patch import merge_patch
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.policy_text import parse_policy
from agent.contract.reported import as_written
from agent.contract.sources import CameraPart
from agent.contract.thresholds import Beneath
from agent.domain.errors import Code, RefusedError, TransientError
from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp
from agent.domain.thresholds import Thresholds
from agent.pipeline.recollection import MINUTES, Entry, Recollection
from agent.pipeline.replaying import Replay, See, Stance
from agent.pipeline.rulebook import prepare
from agent.pipeline.supervise import in_thread
from agent.pipeline.trial_report import report
from agent.ports import Clock, RuleCompiler

BUDGET_S: Final = 10.0
"""So long a trial may take; what is not done by then is told as an error."""

_REST_EVERY_S: Final = 0.001
_REST_S: Final = 0.0005
"""The thread rests after each millisecond of work: else a lane that wants the interpreter for its next frame
waits for it up to 5 ms each time, which is Python's own patience."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a thread needs to know; `stated` are the two policies with the thresholds of their cameras."""

    before: Policy
    after: PolicyDocument
    thresholds: tuple[Mapping[SourceName, Thresholds], Mapping[SourceName, Thresholds]]
    entries: Sequence[Entry]
    now: Stamp
    classes: Mapping[str, Collection[str]]


class WhatIf:
    """Used on the event loop; tries in a thread, one trial at a time.

    `see` makes what leads from detections to scenes under a policy, without a past. `check` raises for what
    Settings do not permit, in the thread. `classes` tells, by model, the names of what it finds.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        beneath: Beneath,
        recollection: Recollection,
        see: Callable[[Policy], See],
        compiler: RuleCompiler,
        classes: Callable[[], Mapping[str, Collection[str]]],
        check: Callable[[PolicyDocument], None],
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._policy = policy
        self._beneath = beneath
        self._recollection = recollection
        self._see = see
        self._compiler = compiler
        self._classes = classes
        self._check = check
        self._clock = clock
        self._budget_s = budget_s
        self._is_busy = False

    def adopt(self, policy: Policy) -> None:
        """Patches are made to this policy from now on."""
        self._policy = policy

    async def __call__(self, args: Mapping[str, object]) -> Mapping[str, object]:
        """`args`: `patch`, a merge patch for the policy, and `minutes`, how far back to try it.

        Raises:
            RefusedError: the patched policy is none that this node would take; told as it would be then.
            TransientError: another trial is under way, or this one took too long.
        """
        after = patched(self._policy, args.get("patch"))
        minutes = args.get("minutes", MINUTES)
        if not isinstance(minutes, int | float):
            raise RefusedError("minutes: a number is wanted", code=Code.SCHEMA, path="/args/minutes")
        if self._is_busy:
            raise TransientError("another trial is under way; try again when it is done", code=Code.BUSY)
        now = self._clock.now()
        trial = _Trial(
            before=self._policy,
            after=after,
            thresholds=(self._thresholds(self._policy), self._thresholds(after.policy)),
            entries=self._recollection.since(now.monotonic_ns - int(minutes * 60e9)),
            now=now,
            classes=self._classes(),
        )
        thinned = sorted(self._recollection.thinned)
        self._is_busy = True
        try:
            replay = await in_thread("what-if", lambda: self._try(trial), yields=True)
        finally:
            self._is_busy = False
        policies = (trial.before, after.policy)
        return report(replay, policies=policies, thinned=thinned, expected=sorted(trial.thresholds[1]))

    def _thresholds(self, policy: Policy) -> Mapping[SourceName, Thresholds]:
        return {
            SourceName(name): policy.thresholds_of(name, self._beneath(stanza.model))
            for name, stanza in policy.sources.items()
            if isinstance(stanza, CameraPart) and stanza.enabled and stanza.model
        }

    def _try(self, trial: _Trial) -> Replay:
        over = time.monotonic() + self._budget_s
        self._check(trial.after)
        policies = (trial.before, trial.after.policy)
        stances = [
            Stance(
                thresholds=thresholds,
                see=self._see(policy),
                book=prepare(policy, compiler=self._compiler, classes=trial.classes).book,
            )
            for policy, thresholds in zip(policies, trial.thresholds, strict=True)
        ]
        replay = Replay(stances, trial.entries, trial.now)
        rest = _Rest()

        def go_on() -> bool:
            rest.now_and_then()
            return time.monotonic() < over

        if not replay.run(go_on):
            raise TransientError(
                f"{replay.done} of {len(trial.entries)} frames and readings were judged within "
                f"{self._budget_s:g} s; ask for fewer minutes",
                code=Code.TIMEOUT,
            )
        return replay


class _Rest:
    def __init__(self) -> None:
        self._rested = time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self._rested > _REST_EVERY_S:
            time.sleep(_REST_S)
            self._rested = time.monotonic()


def patched(policy: Policy, patch: object) -> PolicyDocument:
    """What the policy would be; its version and issuer mean nothing.

    Raises:
        FaultyDocumentError: it would be no policy, and everything that is wrong with it.
    """
    merged = {"version": 0, "policy": merge_patch(as_written(policy), patch)}
    return parse_policy(read_json(json.dumps(merged).encode()))
