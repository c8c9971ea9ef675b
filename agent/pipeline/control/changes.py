"""What two policies do differently with the sources. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from agent.contract import sources
from agent.contract.policy import Policy
from agent.domain.ids import SourceName

_LIVE: Final = frozenset(
    {
        *(
            "model",
            "priority",
            "fps",
            "max_staleness_s",
            "thresholds",
            "shadow",
            "zones",
            "lines",
            "tracking",
        ),
        *("report_every_s", "report"),
    }
)
"""What changes while a source runs; all else is where it comes from, and takes another opening."""


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """By names. `reopened` run already, and have to be opened otherwise; `altered` go on as they are."""

    removed: tuple[SourceName, ...]
    added: tuple[SourceName, ...]
    reopened: tuple[SourceName, ...]
    altered: tuple[SourceName, ...]


def source_changes(old: Policy, new: Policy, *, reloaded: Collection[str] = ()) -> SourceChanges:
    """From what `old` runs to what `new` does; a source that is switched off does not run.

    `reloaded` are other models now under the same name: they may cut a sensor's signal otherwise.
    """
    before, after = _running(old), _running(new)
    both = [name for name in after if name in before]
    going_on = {
        name
        for name in both
        if _goes_on(before[name], after[name])
        and not (isinstance(after[name], sources.SensorPart) and after[name].model in reloaded)
    }
    return SourceChanges(
        removed=tuple(name for name in before if name not in after),
        added=tuple(name for name in after if name not in before),
        reopened=tuple(name for name in both if name not in going_on),
        altered=tuple(name for name in both if name in going_on and before[name] != after[name]),
    )


def _running(policy: Policy) -> Mapping[SourceName, sources.Camera | sources.Sensor]:
    return {SourceName(name): stanza for name, stanza in policy.sources.items() if stanza.enabled}


def _goes_on(before: sources.Camera | sources.Sensor, after: sources.Camera | sources.Sensor) -> bool:
    """A sensor's model cuts its signal into windows, so that another one takes another opening."""
    if type(before) is not type(after):
        return False
    if isinstance(before, sources.SensorPart) and before.model != after.model:
        return False
    return before.model_dump(exclude=set(_LIVE)) == after.model_dump(exclude=set(_LIVE))
