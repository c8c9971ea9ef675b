"""The command `what-if`: a patched policy tried on what was seen lately, before anybody applies it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
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
from agent.pipeline.recollection import MINUTES, Entry, Recollection
from agent.pipeline.replaying import Replay, Stance
from agent.pipeline.rests import Rests
from agent.pipeline.rulebook import Prepared, prepare, prepare_what_can
from agent.pipeline.seeing import Seeing
from agent.pipeline.supervise import in_thread
from agent.pipeline.trial_report import report
from agent.ports import Clock, RuleCompiler

BUDGET_S: Final = 30.0
"""So long a trial may take; what is not done by then is told as an error. While lanes work without a pause it
has a twentieth of one core."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a thread needs to know."""

    policy: Policy
    patch: object
    entries: Sequence[Entry]
    now: Stamp
    thinned: Sequence[SourceName]


class WhatIf:
    """Used on the event loop; tries in a thread, one trial at a time.

    `check` raises for what Settings do not permit. `give_way` lets lanes go first: see `Rests`. Both are
    called in the thread.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        beneath: Beneath,
        recollection: Recollection,
        compiler: RuleCompiler,
        check: Callable[[PolicyDocument], None],
        give_way: Callable[[], None],
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._policy = policy
        self._beneath = beneath
        self._recollection = recollection
        self._compiler = compiler
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
        minutes = args.get("minutes", MINUTES)
        if not isinstance(minutes, int | float):
            raise RefusedError("minutes: a number is wanted", code=Code.SCHEMA, path="/args/minutes")
        if self._is_busy:
            raise TransientError("another trial is under way; try again when it is done", code=Code.BUSY)
        now = self._clock.now()
        trial = _Trial(
            policy=self._policy,
            patch=args.get("patch"),
            entries=self._recollection.since(now.monotonic_ns - int(minutes * 60e9)),
            now=now,
            thinned=sorted(self._recollection.thinned),
        )
        self._is_busy = True
        try:
            return await in_thread("what-if", lambda: self._try(trial), yields=True)
        finally:
            self._is_busy = False

    def _try(self, trial: _Trial) -> Mapping[str, object]:
        over = time.monotonic() + self._budget_s
        after = patched(trial.policy, trial.patch)
        self._check(after)
        prepared, _ = prepare_what_can(trial.policy, compiler=self._compiler)
        stances = (
            self._stance(trial.policy, prepared),
            self._stance(after.policy, prepare(after.policy, compiler=self._compiler)),
        )
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
        return report(
            replay,
            policies=(trial.policy, after.policy),
            thinned=trial.thinned,
            expected=sorted(stances[1].thresholds),
        )

    def _stance(self, policy: Policy, prepared: Prepared) -> Stance:
        thresholds = {
            SourceName(name): policy.thresholds_of(name, self._beneath(stanza.model))
            for name, stanza in policy.sources.items()
            if isinstance(stanza, CameraPart) and stanza.enabled and stanza.model
        }
        return Stance(thresholds=thresholds, see=Seeing(policy).see, book=prepared.book)


def patched(policy: Policy, patch: object) -> PolicyDocument:
    """What the policy would be; its version and issuer mean nothing.

    Raises:
        FaultyDocumentError: it would be no policy, and everything that is wrong with it.
    """
    merged = {"version": 0, "policy": merge_patch(as_written(policy), patch)}
    return parse_policy(read_json(json.dumps(merged).encode()))
