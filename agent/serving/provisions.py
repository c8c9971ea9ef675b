"""What a policy needs to be served on this node: lanes, models, shadows, and the memory for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from agent.adapters.system.limits import read_limits
from agent.contract.policy import Policy
from agent.pipeline.supervise import in_thread
from agent.pipeline.swap import Models
from agent.ports import ModelUpgrade
from agent.serving.lane_plan import LanePlan, plan_lanes
from agent.serving.memory_plan import cameras_mb, needs_of, plan_memory
from agent.serving.model_loading import LoadedShadows, held_upgrades, load_models, load_shadows
from agent.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Provisions:
    """All of it, loaded and admitted."""

    plan: LanePlan
    models: Models
    shadows: LoadedShadows
    upgrades: Sequence[ModelUpgrade]


async def provide(policy: Policy, settings: Settings) -> Provisions:
    """Load what a first policy needs.

    Raises:
        ConfigError: there is no memory for it, or a provider was asked for strictly and is not there.
        RefusedError: a model cannot serve.
        TransientError: packages or prepared graphs cannot be laid into `state_dir`.
    """
    plan = await in_thread("plan", lambda: plan_for(policy, settings))
    # A session's threads are started here, and give way as the lanes do that call them.
    models = await in_thread("load-models", lambda: load_models(policy, settings, plan=plan), yields=True)
    shadows = await in_thread("load-shadows", lambda: load_shadows(policy, settings), yields=True)
    upgrades = await in_thread("engine-upgrades", lambda: held_upgrades(models, policy, settings, plan=plan))
    return Provisions(plan, models, shadows, upgrades)


def plan_for(policy: Policy, settings: Settings) -> LanePlan:
    """The lanes that the policy asks for, or as many of them as there is memory for.

    Raises:
        ConfigError: there is none for a single one.
    """
    plan = plan_lanes(policy, settings)
    for sentence in plan.unused:
        log.warning("lanes.tuning_unused", why=sentence)
    log.info(
        "lanes.planned",
        lanes=plan.lanes,
        threads=plan.threads,
        spinning=plan.spinning,
        arena=plan.arena,
        reason=plan.reason,
    )
    memory = plan_memory(
        needs_of(policy, settings),
        beside_mb=cameras_mb(policy),
        lanes=plan.lanes,
        arena=plan.arena,
        limits=read_limits(),
    )
    tell = log.warning if memory.shrunk else log.info
    tell(
        "memory.planned",
        lanes=memory.lanes,
        asked_lanes=memory.asked_lanes,
        need_mb=round(memory.need_mb),
        most_mb=round(memory.most_mb),
        bound_by=memory.bound_by,
    )
    return replace(plan, lanes=memory.lanes, threads=plan.lanes * plan.threads // memory.lanes)
