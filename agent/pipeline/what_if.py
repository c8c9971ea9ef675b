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
from agent.pipeline.trial_span import judge_newest
from agent.ports import Clock, RuleCompiler

BUDGET_S: Final = 30.0
"""So long a trial may take; it judges the newest that can be judged by then. While lanes work without a pause
it has a twentieth of one core."""


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
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._beneath = beneath
        self._recollection = recollection
        self._compiler = compiler
        self._check = check
        self._give_way = give_way
        self._clock = clock
        self._budget_s = budget_s
        self._timer = timer
        self._is_busy = False

    def adopt(self, policy: Policy) -> None:
        """Patches are made to this policy from now on."""
        self._policy = policy

    async def __call__(self, args: Mapping[str, object]) -> Mapping[str, object]:
        """`args`: `patch`, a merge patch for the policy, and `minutes`, how far back to try it.

        Raises:
            RefusedError: the patched policy is none that this node would take; told as it would be then.
            TransientError: another trial is under way, or nothing could be judged in time.
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
        over_s = self._timer() + self._budget_s
        after = patched(trial.policy, trial.patch)
        self._check(after)
        policies = (trial.policy, after.policy)
        prepared = (
            prepare_what_can(trial.policy, compiler=self._compiler)[0],
            prepare(after.policy, compiler=self._compiler),
        )
        rests = Rests(self._give_way)

        def replay_of(entries: Sequence[Entry]) -> Replay:
            return Replay(list(map(self._stance, policies, prepared)), entries, trial.now)

        def go_on() -> bool:
            rests.now_and_then()
            return self._timer() < over_s

        replay = judge_newest(trial.entries, replay_of, go_on=go_on, left_s=lambda: over_s - self._timer())
        if replay is None:
            raise TransientError(
                f"nothing of {len(trial.entries)} frames and readings could be judged within "
                f"{self._budget_s:g} s; try again when the node has less to do",
                code=Code.TIMEOUT,
            )
        return report(
            replay,
            policies=policies,
            thinned=trial.thinned,
            since=trial.entries[0].now if trial.entries else trial.now,
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
