"""What a policy has that a condition may speak of: cameras with their zones and lines, and sensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.contract.policy import Policy
from agent.contract.sources import CameraPart, SensorPart, SystemSensor
from agent.domain.ids import SourceName
from agent.domain.rules.knowledge import SILENT_AFTER_S, Silence

_PERIODS_MISSED: Final = 3


@dataclass(frozen=True, slots=True)
class CameraWords:
    """`excluding`: zones in which nothing counts."""

    zones: frozenset[str]
    excluding: frozenset[str]
    lines: frozenset[str]
    is_tracked: bool


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names by what they stand for."""

    cameras: Mapping[SourceName, CameraWords]
    sensors: frozenset[SourceName]

    @property
    def sources(self) -> frozenset[SourceName]:
        return self.sensors | self.cameras.keys()


def vocabulary_of(policy: Policy) -> Vocabulary:
    """The names of `policy`."""
    return Vocabulary(
        cameras={
            SourceName(name): _camera_words(stanza)
            for name, stanza in policy.sources.items()
            if isinstance(stanza, CameraPart)
        },
        sensors=frozenset(
            SourceName(name) for name, stanza in policy.sources.items() if isinstance(stanza, SensorPart)
        ),
    )


def silence_of(policy: Policy) -> Silence:
    """After how long a source's last word is not known any more: three of its own periods, or 30 s."""
    periods_s: dict[SourceName, float] = {}
    for name, stanza in policy.sources.items():
        match stanza:
            case SystemSensor():
                periods_s[SourceName(name)] = stanza.every_s
            case CameraPart(period_s=float(period_s)):
                periods_s[SourceName(name)] = period_s
    return Silence(
        {name: int(max(SILENT_AFTER_S, _PERIODS_MISSED * each) * 1e9) for name, each in periods_s.items()}
    )


def _camera_words(stanza: CameraPart) -> CameraWords:
    excluding = frozenset(name for name, zone in stanza.zones.items() if zone.mode == "exclude")
    return CameraWords(
        zones=frozenset(stanza.zones) - excluding,
        excluding=excluding,
        lines=frozenset(stanza.lines),
        is_tracked=stanza.tracking is not None,
    )
