"""What a camera shows at one moment, after thresholds, zones and tracking: what rules judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One object of a scene.

    `box`: x1, y1, x2, y2 as fractions of the frame. `zones`: names of the zones it stands in, with the
    monotonic nanoseconds since which it does (the scene's own moment where it is not tracked). `track`: its
    number, None where it is not tracked, or not confirmed. `moves`: whether it has moved lately; True where
    nothing is known of that.
    """

    class_name: str
    confidence: float
    box: tuple[float, float, float, float]
    zones: Mapping[str, int] = field(default_factory=dict)
    track: int | None = None
    moves: bool = True


@dataclass(frozen=True, slots=True)
class Crossing:
    """A tracked object went over a line between this scene and the one before.

    `forward`: from the left to the right of somebody who looks from the line's first point to its second.
    """

    line: str
    class_name: str
    track: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Scene:
    """What `source` shows at `at`; objects by falling confidence."""

    source: SourceName
    at: Stamp
    objects: tuple[Sighting, ...]
    crossings: tuple[Crossing, ...] = ()
