"""Whether what a policy asks for fits into this board's memory, before anything is loaded.

An estimate from a few figures that were measured (docs/providers.md tells how); it is to be too large rather
than too small, since what it keeps away is the kernel ending the agent in the middle of its work.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.adapters.system.limits import MemoryLimits
from agent.contract.policy import Policy
from agent.contract.sources import CameraPart, SyntheticCamera
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.settings import Settings, resolve_media

PYTHON_MB: Final = 103.0
"""The agent's modules with OpenCV and ONNX Runtime, before anything is opened."""

OUTBOX_AND_LINK_MB: Final = 12.0
_CAMERA_MB: Final = 16.0
"""A decoder of 720p, the frame it holds and the one in the mailbox."""
_RENDERED_MB: Final = 40.0
"""A synthetic camera of 720p has its scenery and its parts in memory."""

_RUNTIME_MB: Final = 12.0
_LOADING: Final = 2.3
"""While a file is read and its weights are packed, times its size."""
_KEPT: Final = 1.1
_BYTES_A_PIXEL: Final = 75.0
_BYTES_A_PIXEL_AND_MB: Final = 1.0
"""Of one lane: activations grow with the model's width, and so with its file."""
_WITHOUT_ARENA: Final = 2.2
_OPENVINO: Final = 8.0
"""It keeps the file, its own graph, packed weights and the threads of its own scheduler."""

_SPARE: Final = 0.1
"""Of what there is: for the kernel, and for what the estimate does not know."""

_USUAL_PX: Final = 640 * 640
"""Where only the file says how large its input is: this family's usual size."""

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """What a model brings: the MB of its file, the pixels of one run's input, and on which provider.

    `shadow`: it looks over another's shoulder, with a session of its own that one run at a time uses.
    """

    name: str
    file_mb: float
    input_px: int
    provider: str = "cpu"
    shadow: bool = False

    @property
    def loading_mb(self) -> float:
        return _RUNTIME_MB + self._weights(_LOADING)

    @property
    def kept_mb(self) -> float:
        return _RUNTIME_MB + self._weights(_KEPT)

    def lane_mb(self, *, arena: bool) -> float:
        """What one lane takes while it runs the model, its input tensor included."""
        a_pixel = _BYTES_A_PIXEL + _BYTES_A_PIXEL_AND_MB * self.file_mb
        return self.input_px * a_pixel / _MIB * (1.0 if arena else _WITHOUT_ARENA)

    def _weights(self, factor: float) -> float:
        return self.file_mb * (max(factor, _OPENVINO) if self.provider == "openvino" else factor)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """So many lanes, which come to need `need_mb` of at most `most_mb`."""

    lanes: int
    asked_lanes: int
    need_mb: float
    most_mb: float
    bound_by: str

    @property
    def shrunk(self) -> bool:
        return self.lanes < self.asked_lanes

    def __str__(self) -> str:
        """For a person: what is needed and what there is."""
        lanes = "1 lane" if self.lanes == 1 else f"{self.lanes} lanes"
        fewer = f" instead of {self.asked_lanes}" if self.shrunk else ""
        return f"about {self.need_mb:.0f} MB with {lanes}{fewer}, of {self.most_mb:.0f} MB by {self.bound_by}"


def needs_of(policy: Policy, settings: Settings) -> list[ModelNeed]:
    """Every model that an enabled source uses, by the size of its file; none is opened.

    One that serves and looks over a shoulder too is loaded twice, and told twice.
    """
    serving = {source.model for source in policy.sources.values() if source.enabled and source.model}
    shadows = {shadow.model for shadow in policy.shadows.values()}
    needs = []
    for name, stanza in policy.models.items():
        roles = [is_shadow for is_shadow, names in ((False, serving), (True, shadows)) if name in names]
        if not roles:
            continue
        try:
            file_mb = _size_mb(resolve_media(settings, stanza.file))
        except RefusedError:
            continue
        pixels = math.prod(stanza.shape) if isinstance(stanza.shape, tuple) else _USUAL_PX
        need = ModelNeed(name, file_mb, pixels * stanza.max_batch, stanza.provider)
        needs += [replace(need, shadow=is_shadow) for is_shadow in roles]
    return needs


def cameras_mb(policy: Policy) -> float:
    """What the cameras that are switched on take, decoding or rendering."""
    cameras = [one for one in policy.sources.values() if one.enabled and isinstance(one, CameraPart)]
    return sum(_RENDERED_MB if isinstance(one, SyntheticCamera) else _CAMERA_MB for one in cameras)


def estimate_mb(models: Sequence[ModelNeed], *, beside_mb: float, lanes: int, arena: bool = True) -> float:
    """The most that the process comes to have resident: while the last model is loaded, or at work.

    `beside_mb` is what the cameras take.
    """
    base = PYTHON_MB + OUTBOX_AND_LINK_MB
    kept = sum(model.kept_mb for model in models)
    loading = max((model.loading_mb - model.kept_mb for model in models), default=0.0)
    at_work = beside_mb + sum((1 if model.shadow else lanes) * model.lane_mb(arena=arena) for model in models)
    return base + kept + max(loading, at_work)


def plan_memory(
    models: Sequence[ModelNeed],
    *,
    beside_mb: float,
    lanes: int,
    arena: bool = True,
    limits: MemoryLimits | None,
) -> MemoryPlan:
    """As many of the `lanes` as there is room for, beside what the cameras take.

    Raises:
        ConfigError: not even one fits.
    """
    if limits is None:
        need = estimate_mb(models, beside_mb=beside_mb, lanes=lanes, arena=arena)
        return MemoryPlan(lanes, lanes, need, math.inf, "no bound that the kernel tells")
    usable = limits.most_mb - _SPARE * limits.bound.total_mb
    plan = MemoryPlan(lanes, lanes, 0.0, limits.most_mb, limits.bound.by)
    for fewer in range(lanes, 0, -1):
        need = estimate_mb(models, beside_mb=beside_mb, lanes=fewer, arena=arena)
        plan = replace(plan, lanes=fewer, need_mb=need)
        if need <= usable:
            return plan
    largest = max(models, key=lambda model: model.kept_mb + model.lane_mb(arena=arena), default=None)
    smaller = f" model {largest.name} at a smaller shape or a smaller model," if largest else ""
    raise ConfigError(
        f"the policy needs about {plan.need_mb:.0f} MB with one lane, and {limits.bound.by} leaves "
        f"{limits.most_mb:.0f} MB of {limits.bound.total_mb:.0f}, of which a tenth stays spare;{smaller} "
        f"fewer cameras, or a limit of {_round_up(plan.need_mb / (1 - _SPARE))} MB would be right",
        code=Code.SPACE,
        path="models",
    )


def _round_up(mb: float) -> int:
    return math.ceil(mb / 10) * 10


def _size_mb(path: Path) -> float:
    """Of a file, or of the files in a package's folder; 0 for what is not there, which is told elsewhere."""
    try:
        files = [each for each in path.rglob("*.onnx*") if each.is_file()] if path.is_dir() else [path]
        return sum(each.stat().st_size for each in files) / _MIB
    except OSError:
        return 0.0
