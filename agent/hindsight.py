"""What is remembered of the last minutes put together: `explain` and `what-if`, and what they live on."""

from collections.abc import Callable, Mapping

from agent.contract.policy import Policy, PolicyDocument
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.ids import SourceName
from agent.pipeline.commands import Handler
from agent.pipeline.explaining import Explaining
from agent.pipeline.recollection import Recollection
from agent.pipeline.rests import REST_S, WORK_S
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.swap import ModelSwap
from agent.pipeline.what_if import WhatIf
from agent.ports import Clock, RuleCompiler, Status


class Hindsight:
    """Follows the policy. On the event loop.

    `check` raises for what Settings do not permit, in a thread.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        swap: ModelSwap,
        scheduler: Scheduler,
        compiler: RuleCompiler,
        check: Callable[[PolicyDocument], None],
        clock: Clock,
    ) -> None:
        self._swap = swap
        self._clock = clock
        self._policy = policy
        self._recollection = Recollection()
        self._explaining = Explaining(
            policy=policy,
            beneath=self._package_thresholds,
            flow=scheduler.statistics,
            recollection=self._recollection,
            clock=clock,
        )
        self._what_if = WhatIf(
            policy=policy,
            beneath=self._package_thresholds,
            recollection=self._recollection,
            compiler=compiler,
            check=check,
            give_way=lambda: _give_way(scheduler),
            clock=clock,
        )

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command."""
        return {"explain": self._explaining, "what-if": self._what_if}

    def adopt(self, policy: Policy) -> None:
        """Explain, and try patches, by this policy from now on."""
        self._policy = policy
        self._explaining.adopt(policy)
        self._what_if.adopt(policy)

    def observe(self, result: Result) -> None:
        """What was found, read or rated just now."""
        self._recollection.remember(result, self._clock.now())
        if isinstance(result, FrameResult):
            self._explaining.note(result.source, result.detections.fates)

    def on_condition(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        """A source is well, or not."""
        del code, message
        if who in self._policy.sources:
            self._recollection.remember_condition(SourceName(who), status, self._clock.now())

    def _package_thresholds(self, model: str) -> ThresholdPolicy | None:
        admitted = self._swap.serving(model)
        return None if admitted is None else admitted.thresholds


def _give_way(scheduler: Scheduler) -> None:
    scheduler.wait_for_spare(WORK_S, timeout_s=REST_S)
