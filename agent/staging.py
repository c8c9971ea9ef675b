"""What a policy needs besides models, made ready before anything changes: shadows, lanes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.contract.policy import ModelPolicy, Policy
from agent.contract.sources import Shadow
from agent.domain.ids import SourceName
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.overload import Overload
from agent.pipeline.shadow import Shadows
from agent.pipeline.supervise import in_thread
from agent.pipeline.swap import ModelSwap
from agent.ports import Condition
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import LoadedShadows

Adoption = Callable[[], None]


class ShadowStager:
    """Loads shadows' models, where those or their cameras differ. One that cannot be had is told, no more."""

    def __init__(
        self,
        *,
        policy: Policy,
        shadows: Shadows,
        load: Callable[[Policy], LoadedShadows],
        on_condition: Condition,
    ) -> None:
        self._wanted = _shadows_of(policy)
        self._shadows = shadows
        self._load = load
        self._on_condition = on_condition

    async def stage(self, policy: Policy) -> Adoption:
        """Never refuses."""
        wanted = _shadows_of(policy)
        if wanted == self._wanted:
            return lambda: None
        loaded = await in_thread("load-shadows", lambda: self._load(policy), yields=True)

        def adopt() -> None:
            for name in self._wanted.keys() - wanted.keys():
                self._on_condition(f"shadow-{name}", "ok", None, "none is wanted")
            self._wanted = wanted
            self._shadows.adopt(loaded.plans)
            for name in loaded.plans:
                self._on_condition(f"shadow-{name}", "ok", None, None)
            for name, why in loaded.lacking.items():
                self._on_condition(f"shadow-{name}", "degraded", why.code, why.message)

        return adopt


@dataclass(slots=True)
class RunningLanes:
    """`plan` is what the worker runs by, `coming` what models are loaded for."""

    plan: LanePlan
    coming: LanePlan


class LaneStager:
    """Another `power.lanes` takes other sessions: every model is loaded anew for it.

    What `auto` comes to is decided at the start, and when `power.lanes` changes: a camera more or less does
    not load models anew. `plan` reads files, and raises ConfigError where there is no memory.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        lanes: RunningLanes,
        plan: Callable[[Policy], LanePlan],
        swap: ModelSwap,
        worker: InferenceWorker,
        overload: Overload,
    ) -> None:
        self._asked = policy.power.lanes
        self._lanes = lanes
        self._plan = plan
        self._swap = swap
        self._worker = worker
        self._overload = overload

    async def stage(self, policy: Policy) -> Adoption:
        """Raises: ConfigError (there is no memory for it)."""
        asked = policy.power.lanes
        lanes = self._lanes
        lanes.coming = lanes.plan
        if asked != self._asked:
            lanes.coming = await in_thread("plan", lambda: self._plan(policy))
        if _runs_alike(lanes.coming, lanes.plan):
            return lambda: setattr(self, "_asked", asked)
        self._swap.load_all_anew()
        coming = lanes.coming

        def adopt() -> None:
            self._asked, lanes.plan = asked, coming
            self._worker.resize(coming.lanes)
            self._overload.resize(coming.lanes)

        return adopt


def _runs_alike(one: LanePlan, other: LanePlan) -> bool:
    return (one.lanes, one.threads, one.spinning, one.arena) == (
        other.lanes,
        other.threads,
        other.spinning,
        other.arena,
    )


def _shadows_of(policy: Policy) -> Mapping[SourceName, tuple[Shadow, ModelPolicy]]:
    return {SourceName(name): (one, policy.models[one.model]) for name, one in policy.shadows.items()}
