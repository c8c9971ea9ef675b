"""What a policy asks of providers and devices, and which models are to become faster while they serve."""

import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from agent.adapters.models import ModelPackage
from agent.adapters.onnx import load_model
from agent.adapters.onnx.accelerator import Accelerator
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.prepared import PreparedGraphs
from agent.adapters.onnx.session import SessionSettings, has_provider
from agent.adapters.onnx.upgrade import EngineUpgrade
from agent.contract.policy import ModelPolicy
from agent.domain.ids import ModelName
from agent.ports import AnomalyModel, DetectorModel
from agent.serving.lane_plan import LanePlan
from agent.settings import Settings

log = structlog.get_logger(__name__)


def load_accelerated(
    *,
    name: str,
    path: Path,
    package: ModelPackage | None,
    stanza: ModelPolicy,
    settings: Settings,
    plan: LanePlan,
) -> OnnxDetector | OnnxAnomaly:
    """The model, on its provider, or for TensorRT on CUDA until there is an engine. Blocks.

    With `strict_provider` nothing else may serve, so that this waits for the engine: minutes, the first time.

    Raises:
        RefusedError, ConfigError: as `load_model` does.
        TransientError: the engine that is waited for was not built.
    """
    waits = waits_for_engine(stanza)
    model = load_model(
        name=name,
        path=path,
        sha256=stanza.sha256,
        package=package,
        provider="cuda" if waits else stanza.provider,
        # What keeps the place of an engine may be anything; strictness is for what comes of it.
        strict_provider=stanza.strict_provider and not waits,
        shape=stanza.shape,
        threads=plan.threads,
        spinning=plan.spinning,
        arena=plan.arena,
        max_batch=stanza.max_batch,
        accelerator=_accelerator(stanza, in_full=waits),
        meanwhile_for=stanza.provider if waits else None,
        rewrite=stanza.rewrite,
        prepared=PreparedGraphs(folder=settings.state_dir / "graphs"),
    )
    if waits and stanza.strict_provider and isinstance(model, OnnxDetector):
        log.info("engine.waited_for", model=name)
        upgrade = _upgrade(model, stanza, settings, plan)
        return upgrade.build(tell=lambda _seconds: None, stop=threading.Event())
    return model


def engine_upgrades(
    models: Mapping[ModelName, DetectorModel | AnomalyModel],
    stanzas: Mapping[str, ModelPolicy],
    settings: Settings,
    *,
    plan: LanePlan,
) -> list[EngineUpgrade]:
    """For each model that keeps the place of TensorRT: what is to take over from it.

    The cameras' models only: those of sensor windows are so small that they gain nothing.
    """
    return [
        _upgrade(model, stanzas[name], settings, plan)
        for name, model in models.items()
        if isinstance(model, OnnxDetector)
        and model.facts.provider_used != "tensorrt"
        and waits_for_engine(stanzas[name])
    ]


def waits_for_engine(stanza: ModelPolicy) -> bool:
    """Whether an engine can be built for it at all: else the fallback is told when the model is loaded."""
    return stanza.provider == "tensorrt" and has_provider("tensorrt")


def _upgrade(model: OnnxDetector, stanza: ModelPolicy, settings: Settings, plan: LanePlan) -> EngineUpgrade:
    return EngineUpgrade(
        serving=model,
        settings=SessionSettings(
            strict_provider=stanza.strict_provider,
            threads=plan.threads,
            spinning=plan.spinning,
            arena=plan.arena,
            accelerator=_accelerator(stanza),
        ),
        root=settings.state_dir / "engines",
    )


def _accelerator(stanza: ModelPolicy, *, in_full: bool = False) -> Accelerator:
    return Accelerator(
        precision="fp32" if in_full else stanza.precision,
        device=stanza.device,
        gpu_mem_limit_mb=stanza.gpu_mem_limit_mb,
    )
