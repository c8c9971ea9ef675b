"""How the worker shares this machine's cores: as the policy asks, as measured here, or by a rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.adapters.system.processor import cores as usable_cores
from agent.contract.policy import ModelPolicy, Policy
from agent.contract.sources import CameraPart
from agent.domain.errors import RefusedError
from agent.serving.tuning import Lanes, Machine, Tuning, beside, model_file, read_tuning
from agent.settings import Settings, resolve_media

TUNING_FOLDER = "tuning"
"""In `state_dir`, for models whose own folder cannot be written: `<name of the file>.tune.json`."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """So many lanes, each run with `threads`; `spinning` and `arena` as `SessionSettings` has them.

    `reason`: what decided. `unused`: a sentence for each tuning that is there and does not hold.
    """

    lanes: int
    threads: int
    spinning: bool = True
    arena: bool = True
    reason: Literal["asked", "measured", "default"] = "default"
    unused: tuple[str, ...] = ()


def plan_lanes(policy: Policy, settings: Settings, *, cores: int | None = None) -> LanePlan:
    """One lane with all cores for latency, one-thread lanes for throughput. Reads files; never fails.

    `auto` takes what `nanofleet model bench --tune` found for every model of a camera: for one camera, or
    for several. Where models differ, most throughput (the most lanes) counts. Without it, throughput as soon
    as more than one camera competes: decoding and the spinning threads of one wide run would fight for the
    same cores.
    """
    cores = cores or usable_cores()
    asked = policy.power.lanes
    match asked:
        case int():
            return LanePlan(lanes=asked, threads=1, reason="asked")
        case "latency":
            return LanePlan(lanes=1, threads=cores, reason="asked")
        case "throughput":
            return LanePlan(lanes=cores, threads=1, reason="asked")
        case "auto":
            pass
    cameras = _served_cameras(policy)
    names = sorted({camera.model for camera in cameras if camera.model})
    tunings, unused = _tunings(names, policy, settings)
    if names and len(tunings) == len(names):
        best = [tuning.many if len(cameras) > 1 else tuning.alone for tuning in tunings]
        return _planned(max(best, key=lambda lanes: lanes.lanes), unused)
    if len(cameras) > 1:
        return LanePlan(lanes=cores, threads=1, unused=unused)
    return LanePlan(lanes=1, threads=cores, unused=unused)


def _planned(lanes: Lanes, unused: tuple[str, ...]) -> LanePlan:
    return LanePlan(
        lanes=lanes.lanes,
        threads=lanes.threads,
        spinning=lanes.spinning,
        arena=lanes.arena,
        reason="measured",
        unused=unused,
    )


def _served_cameras(policy: Policy) -> list[CameraPart]:
    return [
        source
        for source in policy.sources.values()
        if source.enabled and source.model and isinstance(source, CameraPart)
    ]


def _tunings(names: list[str], policy: Policy, settings: Settings) -> tuple[list[Tuning], tuple[str, ...]]:
    """Those that hold, and why the others do not."""
    read = [_tuning(policy.models[name], settings) for name in names]
    holding = [one for one in read if isinstance(one, Tuning)]
    return holding, tuple(one for one in read if isinstance(one, str))


def _tuning(stanza: ModelPolicy, settings: Settings) -> Tuning | str | None:
    """What was measured, or why it does not hold; None where nothing is kept."""
    try:
        path = resolve_media(settings, stanza.file)
        for place in _places(path, settings):
            tuning = read_tuning(place)
            if tuning is None:
                continue
            why = tuning.why_stale(model_file(path), provider=stanza.provider, machine=Machine.here())
            again = "`nanofleet model bench --tune` would measure again"
            return tuning if why is None else f"{place}: {why}; {again}"
    except RefusedError as error:
        return error.message
    return None


def _places(model: Path, settings: Settings) -> Iterator[Path]:
    yield beside(model)
    yield settings.state_dir / TUNING_FOLDER / beside(model).name
