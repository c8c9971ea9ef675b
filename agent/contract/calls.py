"""From the calls in a condition to what they ask: `count("person", zone="door")` and its like."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from agent.contract.vocabulary import CameraWords, Vocabulary
from agent.contract.words import listed, nearest
from agent.domain.ids import SourceName
from agent.domain.rules.crossings import MOST_WITHIN_S
from agent.domain.rules.features import (
    AgeOf,
    Count,
    Crossed,
    Dwell,
    Feature,
    HealthOf,
    IsAnomalous,
    LastReading,
    LastScore,
)
from agent.domain.rules.prepared import FaultyConditionError

Value = TypeVar("Value", str, float, bool)


@dataclass(frozen=True, slots=True)
class Literal:
    """A fixed value in a call, and where it stands."""

    value: str | float | bool
    at: int


class Call:
    """A call with its arguments by name, to be taken out one by one; `at` is where it stands."""

    def __init__(self, function: str, arguments: Mapping[str, Literal], at: int, words: Vocabulary) -> None:
        self.function = function
        self.at = at
        self.words = words
        self._arguments = arguments

    def take(self, name: str, kind: type[Value]) -> Value | None:
        """The argument, if it was given.

        Raises:
            FaultyConditionError: it is of another kind.
        """
        literal = self._arguments.get(name)
        if literal is None:
            return None
        if not isinstance(literal.value, kind):
            raise FaultyConditionError(
                f"{name} of {self.function} is {_KINDS[kind]}, not {literal.value!r}", at=literal.at
            )
        return literal.value

    def need(self, name: str) -> str:
        """A text that has to be there.

        Raises:
            FaultyConditionError: it is not.
        """
        value = self.take(name, str)
        if value is None:
            raise FaultyConditionError(f"{self.function} wants to know the {name}", at=self.at)
        return value

    def one_of(self, name: str, value: str, known: Collection[str], what: str) -> str:
        """`value`, if it is known.

        Raises:
            FaultyConditionError: it is not.
        """
        if value in known:
            return value
        close = nearest(value, sorted(known))
        there = f"did you mean {close!r}?" if close else f"there is {listed(sorted(known)) or 'none'}"
        at = self._arguments[name].at if name in self._arguments else self.at
        raise FaultyConditionError(f"there is no {what} {value!r}; {there}", at=at)

    def source(self) -> SourceName:
        name = self.need("source")
        return SourceName(self.one_of("source", name, self.words.sources, "source"))

    def sensor(self) -> SourceName:
        name = self.need("source")
        return SourceName(self.one_of("source", name, self.words.sensors, "sensor"))

    def cameras(self) -> dict[SourceName, CameraWords]:
        """The one that is named, else all.

        Raises:
            FaultyConditionError: it is not there, or there is none at all.
        """
        cameras = self.words.cameras
        name = self.take("source", str)
        if name is not None:
            source = SourceName(self.one_of("source", name, cameras, "camera"))
            return {source: cameras[source]}
        if not cameras:
            raise FaultyConditionError(f"{self.function} looks at cameras, and there is none", at=self.at)
        return dict(cameras)

    def with_zone(self, cameras: Mapping[SourceName, CameraWords], zone: str) -> tuple[SourceName, ...]:
        """Those of `cameras` that have this zone."""
        if any(zone in each.excluding for each in cameras.values()):
            at = self._arguments["zone"].at
            raise FaultyConditionError(f"the zone {zone!r} leaves out what stands in it", at=at)
        self.one_of("zone", zone, {one for each in cameras.values() for one in each.zones}, "zone")
        return tuple(name for name, each in cameras.items() if zone in each.zones)

    def tracked(
        self, cameras: Mapping[SourceName, CameraWords], names: tuple[SourceName, ...]
    ) -> tuple[SourceName, ...]:
        """`names`, if all of them follow their objects from frame to frame."""
        for name in names:
            if not cameras[name].is_tracked:
                raise FaultyConditionError(
                    f"{self.function} follows objects from frame to frame, and the camera {name} has no "
                    "`tracking`",
                    at=self.at,
                )
        return names


_KINDS: Final[Mapping[type, str]] = {str: "a text", float: "a number", bool: "true or false"}


def _count(call: Call) -> Feature:
    cameras = call.cameras()
    zone = call.take("zone", str)
    moving = call.take("moving", bool)
    least = call.take("min_confidence", float)
    if least is not None and not 0 <= least <= 1:
        raise FaultyConditionError(
            f"min_confidence is a fraction from 0 to 1, and nothing is ever {least:g}", at=call.at
        )
    sources = tuple(cameras) if zone is None else call.with_zone(cameras, zone)
    return Count(
        sources=sources if moving is None else call.tracked(cameras, sources),
        class_name=call.take("class", str),
        zone=zone,
        min_confidence=0.0 if least is None else least,
        moving=moving,
    )


def _dwell(call: Call) -> Feature:
    cameras = call.cameras()
    zone = call.need("zone")
    sources = call.tracked(cameras, call.with_zone(cameras, zone))
    return Dwell(sources=sources, zone=zone, class_name=call.take("class", str))


def _crossed(call: Call) -> Feature:
    cameras = call.cameras()
    line = call.need("line")
    call.one_of("line", line, {one for each in cameras.values() for one in each.lines}, "line")
    sources = tuple(name for name, each in cameras.items() if line in each.lines)
    direction = call.take("direction", str)
    if direction is not None:
        call.one_of("direction", direction, ("forward", "backward"), "direction")
    within_s = call.take("within_s", float)
    within_s = 1.0 if within_s is None else within_s
    if not 0 < within_s <= MOST_WITHIN_S:
        raise FaultyConditionError(f"within_s is above 0 and at most {MOST_WITHIN_S:g}", at=call.at)
    return Crossed(
        sources=call.tracked(cameras, sources),
        line=line,
        class_name=call.take("class", str),
        direction=None if direction is None else ("forward" if direction == "forward" else "backward"),
        within_ns=int(within_s * 1e9),
    )


def _reading(call: Call) -> Feature:
    path = call.need("reading")
    sensor, parted, name = path.partition("/")
    call.one_of("reading", sensor, call.words.sensors, "sensor")
    if not parted or not name:
        raise FaultyConditionError(
            f"a reading is named SENSOR/NAME, e.g. {sensor}/temperature; {path!r} lacks the name", at=call.at
        )
    return LastReading(SourceName(sensor), name)


@dataclass(frozen=True, slots=True)
class Function:
    """`by_place`: the one argument that needs no name; `by_name`: those that have to be named."""

    by_place: str
    by_name: tuple[str, ...]
    bind: Callable[[Call], Feature]


FUNCTIONS: Final[Mapping[str, Function]] = {
    "count": Function("class", ("source", "zone", "min_confidence", "moving"), _count),
    "dwell": Function("class", ("zone", "source"), _dwell),
    "crossed": Function("line", ("source", "class", "direction", "within_s"), _crossed),
    "reading": Function("reading", (), _reading),
    "score": Function("source", (), lambda call: LastScore(call.sensor())),
    "anomalous": Function("source", (), lambda call: IsAnomalous(call.sensor())),
    "health": Function("source", (), lambda call: HealthOf(call.source())),
    "age": Function("source", (), lambda call: AgeOf(call.source())),
}
"""What a condition can ask."""
