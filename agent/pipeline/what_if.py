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
from agent.pipeline.replaying import Replay, Stance
from agent.pipeline.rests import Rests
from agent.pipeline.rulebook import prepare
from agent.pipeline.seeing import Seeing
from agent.pipeline.supervise import in_thread
from agent.pipeline.trial_report import report
from agent.ports import Clock, RuleCompiler

BUDGET_S: Final = 30.0
"""So long a trial may take; what is not done by then is told as an error. While lanes work without a pause it
has a tenth of one core."""


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

    `check` raises for what Settings do not permit, in the thread. `classes` tells, by model, the names of
    what it finds. `give_way` lets lanes go first: see `Rests`.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        beneath: Beneath,
        recollection: Recollection,
        compiler: RuleCompiler,
        classes: Callable[[], Mapping[str, Collection[str]]],
        check: Callable[[PolicyDocument], None],
        give_way: Callable[[], None],
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._policy = policy
        self._beneath = beneath
        self._recollection = recollection
        self._compiler = compiler
        self._classes = classes
        self._check = check
        self._give_way = give_way
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
                see=Seeing(policy).see,
                book=prepare(policy, compiler=self._compiler, classes=trial.classes).book,
            )
            for policy, thresholds in zip(policies, trial.thresholds, strict=True)
        ]
        replay = Replay(stances, trial.entries, trial.now)
        rests = Rests(self._give_way)

        def go_on() -> bool:
            rests.now_and_then()
            return time.monotonic() < over

        if not replay.run(go_on):
            raise TransientError(
                f"{replay.done} of {len(trial.entries)} frames and readings were judged within "
                f"{self._budget_s:g} s; ask for fewer minutes",
                code=Code.TIMEOUT,
            )
        return replay


def patched(policy: Policy, patch: object) -> PolicyDocument:
    """What the policy would be; its version and issuer mean nothing.

    Raises:
        FaultyDocumentError: it would be no policy, and everything that is wrong with it.
    """
    merged = {"version": 0, "policy": merge_patch(as_written(policy), patch)}
    return parse_policy(read_json(json.dumps(merged).encode()))
