"""From a policy's stanza to a model that may serve: opened, loaded, admitted."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import structlog

from agent.adapters.models import ModelPackage, is_package, open_package, package_digest
from agent.adapters.onnx.admission import Standards, admit
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.upgrade import EngineUpgrade
from agent.contract.policy import ModelPolicy, Policy
from agent.contract.thresholds import ThresholdPolicy
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.ids import ModelName, SourceName
from agent.pipeline.shadow import ShadowPlan
from agent.pipeline.swap import Admitted, Models
from agent.ports import DetectorModel
from agent.serving.acceleration import engine_upgrades, load_accelerated, waits_for_engine
from agent.serving.lane_plan import LanePlan
from agent.serving.memory_plan import needs_of
from agent.serving.rehearsal import RETURN_MEMORY, rehearse
from agent.settings import Settings, resolve_media

log = structlog.get_logger(__name__)

_SHADOWS = LanePlan(lanes=1, threads=1, spinning=False)
"""A session without threads of its own works at the priority of the thread that calls it."""


def load_models(policy: Policy, settings: Settings, *, plan: LanePlan) -> Models:
    """Load and admit every model that an enabled source uses. Blocks.

    Raises:
        RefusedError: a file is missing, is another one than its hash says, cannot be decoded, or gives other
            results than its golden ones.
        ConfigError: a provider was asked for strictly and is not there.
        TransientError: packages or prepared graphs cannot be laid into `state_dir`.
    """
    # Several lanes resize at once, each in its own thread; and beside a runtime's threads that spin,
    # OpenCV's pool made feeding take 6.4 ms instead of 1.1.
    cv2.setNumThreads(1)
    used = {source.model for source in policy.sources.values() if source.enabled and source.model}
    return {
        ModelName(name): load_and_admit(ModelName(name), stanza, settings, plan=plan)
        for name, stanza in policy.models.items()
        if name in used
    }


@dataclass(frozen=True, slots=True)
class LoadedShadows:
    """By camera, the models that look over its shoulder, and why one is not there: it costs nobody else."""

    plans: Mapping[SourceName, ShadowPlan]
    lacking: Mapping[SourceName, NanofleetError]


def load_shadows(policy: Policy, settings: Settings) -> LoadedShadows:
    """Load and admit the models that look over cameras' shoulders, each once, with one thread. Blocks.

    What `load_models` would raise for a model, or that it is no detector, is told as `lacking`.
    """
    needed_mb = {need.name: need.kept_mb + need.lane_mb(arena=True) for need in needs_of(policy, settings)}
    loaded: dict[str, OnnxDetector | NanofleetError] = {}
    plans: dict[SourceName, ShadowPlan] = {}
    lacking: dict[SourceName, NanofleetError] = {}
    for name, shadow in policy.shadows.items():
        if shadow.model not in loaded:
            try:
                loaded[shadow.model] = _load_shadow(
                    ModelName(shadow.model), policy.models[shadow.model], settings
                )
            except NanofleetError as error:
                loaded[shadow.model] = error
        model = loaded[shadow.model]
        if isinstance(model, NanofleetError):
            lacking[SourceName(name)] = model
            log.warning(
                "shadow.not_loaded", source=name, model=shadow.model, code=model.code, message=model.message
            )
            continue
        plans[SourceName(name)] = ShadowPlan(
            model=model,
            fps=shadow.fps,
            memory_mb=needed_mb.get(shadow.model, 0.0),
            primary_memory_mb=needed_mb.get(policy.sources[name].model or "", 0.0),
        )
    return LoadedShadows(plans, lacking)


def _load_shadow(name: ModelName, stanza: ModelPolicy, settings: Settings) -> OnnxDetector:
    """Raises: RefusedError, ConfigError, TransientError (as `load_models` does; or it is no detector)."""
    model = load_and_admit(name, stanza, settings, plan=_SHADOWS).model
    if not isinstance(model, OnnxDetector):
        raise RefusedError(
            f"model {name} is of task {model.facts.task} and cannot look at a camera's frames; "
            "a detector or a pose model is wanted",
            code=Code.COMPATIBILITY,
            path=f"/policy/models/{name}",
        )
    return model


def load_another(
    name: ModelName, stanza: ModelPolicy, settings: Settings, *, plan: LanePlan, may_fall_back: bool
) -> Admitted:
    """As `load_and_admit`, while an older one serves. Blocks.

    For TensorRT the engine is waited for. Where memory is not given back, a process of its own tries first.
    """
    if waits_for_engine(stanza) and not may_fall_back:
        stanza = stanza.model_copy(update={"strict_provider": True})
    if stanza.provider not in RETURN_MEMORY:
        rehearse(name, stanza, settings, plan=plan, may_fall_back=may_fall_back)
    return load_and_admit(name, stanza, settings, plan=plan, may_fall_back=may_fall_back)


def load_and_admit(
    name: ModelName, stanza: ModelPolicy, settings: Settings, *, plan: LanePlan, may_fall_back: bool = True
) -> Admitted:
    """One model. Blocks.

    Raises:
        RefusedError, ConfigError, TransientError: as `load_models` does.
    """
    package = _package(stanza, settings)
    model = load_accelerated(
        name=name,
        path=package.model_file if package else resolve_media(settings, stanza.file),
        package=package,
        stanza=stanza,
        settings=settings,
        plan=plan,
    )
    admission = admit(model, replace(_standards(stanza, package), may_fall_back=may_fall_back))
    return Admitted(
        model=model,
        digest=model.facts.sha256,
        thresholds=package.card.thresholds if package else ThresholdPolicy(),
        passed=str(admission),
    )


def held_upgrades(
    models: Models, policy: Policy, settings: Settings, *, plan: LanePlan
) -> list["HeldUpgrade"]:
    """What is to take over from models that keep the place of TensorRT. Blocks for a moment."""
    serving = {name: admitted.model for name, admitted in models.items()}
    return [
        HeldUpgrade(upgrade, _standards(stanza, _package(stanza, settings)))
        for upgrade in engine_upgrades(serving, policy.models, settings, plan=plan)
        for stanza in [policy.models[upgrade.serving.facts.name]]
    ]


@dataclass(frozen=True, slots=True)
class HeldUpgrade:
    """Fulfils `ports.ModelUpgrade`: what was made faster serves only if it still finds what is golden."""

    upgrade: EngineUpgrade
    standards: Standards

    @property
    def serving(self) -> DetectorModel:
        return self.upgrade.serving

    def build(self, *, tell: Callable[[float], None], stop: threading.Event) -> DetectorModel:
        """As the port says. Raises: RefusedError (it finds something else)."""
        faster = self.upgrade.build(tell=tell, stop=stop)
        admit(faster, self.standards)
        return faster


def digest_of(stanza: ModelPolicy, settings: Settings) -> str:
    """SHA-256 of what a stanza names, as it lies there now. Blocks.

    Raises:
        RefusedError: it cannot be read.
    """
    return package_digest(resolve_media(settings, stanza.file))


def _package(stanza: ModelPolicy, settings: Settings) -> ModelPackage | None:
    path = resolve_media(settings, stanza.file)
    if not is_package(path):
        return None
    return open_package(path, cache=settings.packages_dir, sha256=stanza.sha256)


def _standards(stanza: ModelPolicy, package: ModelPackage | None) -> Standards:
    if package is None:
        return Standards()
    card = package.card
    allowed = card.allowed(computed_in=stanza.precision)
    return Standards(goldens=package.goldens, allowed=allowed, slowest_ms=card.slowest_ms)
