"""Inference put together: the worker and its lanes, models that change, shadows, and what load gives up."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from agent import assembly
from agent.adapters import heap
from agent.contract.policy import Policy
from agent.domain.ids import SourceName
from agent.pipeline.control.terms import Stager
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker, OnServed
from agent.pipeline.overload import Overload
from agent.pipeline.results import Result
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.shadow import ShadowPlan, Shadows
from agent.pipeline.supervise import Ticks
from agent.pipeline.swap import Load, Models, ModelSwap
from agent.pipeline.upgrading import Upgrading
from agent.policies import Policies
from agent.ports import Clock, Condition, Metrics, ModelUpgrade
from agent.serving.model_loading import digest_of
from agent.settings import Settings
from agent.staging import LaneStager, RunningLanes, ShadowStager


class InferencePlane:
    """Made on the running loop. `on_served` hears in a lane what was found, `on_swapped` of other models."""

    def __init__(
        self,
        *,
        settings: Settings,
        policy: Policy,
        policies: Policies,
        models: Models,
        shadows: Mapping[SourceName, ShadowPlan],
        lanes: RunningLanes,
        load: Load,
        upgrades: Sequence[ModelUpgrade],
        scheduler: Scheduler,
        results: Handover[Result],
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        on_condition: Condition,
        on_served: OnServed,
        on_swapped: Callable[[], None],
    ) -> None:
        self._on_served = on_served
        self.shadows = Shadows(
            plans=shadows, scheduler=scheduler, clock=clock, metrics=metrics, on_condition=on_condition
        )
        self.worker = InferenceWorker(
            scheduler=scheduler,
            results=results,
            lanes=lanes.plan.lanes,
            clock=clock,
            metrics=metrics,
            ticks=ticks,
            on_condition=on_condition,
            on_served=self._serve,
        )
        self.swap = ModelSwap(
            scheduler=scheduler,
            models=models,
            policy=policy,
            load=load,
            digest=lambda stanza: digest_of(stanza, settings),
            suits=assembly.check_suits,
            give_back=heap.trim,
            on_condition=on_condition,
            on_swapped=on_swapped,
        )
        self._upgrading = Upgrading(
            upgrades=upgrades,
            scheduler=scheduler,
            on_condition=on_condition,
            on_replaced=self.swap.note_replaced,
        )
        self.overload = Overload(
            scheduler=scheduler,
            lanes=lanes.plan.lanes,
            mode=policy.power.mode,
            max_temperature_c=policy.power.max_temperature_c,
            strain=assembly.strain(),
            clock=clock,
            metrics=metrics,
            ticks=ticks,
            on_condition=on_condition,
        )
        self.stagers: Sequence[Stager] = (
            ShadowStager(
                policy=policy, shadows=self.shadows, load=policies.load_shadows, on_condition=on_condition
            ),
            LaneStager(
                policy=policy,
                lanes=lanes,
                plan=policies.plan_lanes,
                swap=self.swap,
                worker=self.worker,
                overload=self.overload,
            ),
        )

    def coroutines(
        self, stop: asyncio.Event, *, quiet: asyncio.Event
    ) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What runs beside the worker, by name: until `stop`, or until all has become `quiet`."""
        return {"shadow": self.shadows.run(stop), "overload": self.overload.run(quiet)}

    async def upgrade(self) -> None:
        """Make models faster that serve already; may be cancelled at any time."""
        await self._upgrading.run()

    def _serve(self, job: FrameJob, results: Sequence[Result]) -> None:
        self._on_served(job, results)
        self.shadows.offer(job, results)
