"""Messages that somebody recorded from the broker, one a line, as values again."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from agent.contract.payloads import Object
from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName
from agent.domain.reading import Quality, Reading, Score
from agent.domain.scene import Scene, Sighting
from agent.domain.stamp import Stamp

MOST_LINE_BYTES: Final = 1 << 20

_YEARS: Final = range(1970, 2200)
_MOST_UPTIME_MS: Final = 100 * 366 * 86_400_000
"""A century, in milliseconds."""

_OBJECTS: Final = TypeAdapter(tuple[Object, ...])


@dataclass(frozen=True, slots=True)
class Readings:
    """What one telemetry message holds, oldest first."""

    source: SourceName
    at: Stamp
    readings: tuple[Reading, ...]
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message of `node`, which is SITE/NODE."""

    node: str
    boot: str
    said: Scene | Readings


@dataclass(frozen=True, slots=True)
class Recording:
    """`skipped`: so many lines are no text or no JSON, as pictures are that were recorded along."""

    messages: tuple[Recorded, ...]
    skipped: int


def read_recording(lines: Iterable[bytes]) -> Recording:
    """The detections and telemetry among `lines`; what else was recorded is left out.

    A line is what `mosquitto_sub` prints with `-F %j`, `-F %J`, `-F '%t %p'` or `-F %p`.

    Raises:
        RefusedError: no line can be read (`E_JSON`), or one is of detections or telemetry, but not as a node
            tells them (`E_SCHEMA`); with its number.
    """
    messages: list[Recorded] = []
    skipped: list[tuple[int, str]] = []
    some = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        some += 1
        try:
            said = _payload(line)
        except (ValueError, RecursionError) as error:
            skipped.append((number, str(error)))
            continue
        try:
            message = _message(said)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RefusedError(f"line {number} cannot be read: {_why(error)}", code=Code.SCHEMA) from error
        if message is not None:
            messages.append(message)
    if skipped and len(skipped) == some:
        number, why = skipped[0]
        raise RefusedError(f"line {number} cannot be read: {why}, nor can any other", code=Code.JSON)
    return Recording(tuple(messages), len(skipped))


def _why(error: Exception) -> str:
    match error:
        case ValidationError():
            return "it is no message of a node"
        case KeyError():
            return f"it has no {error}"
        case _:
            return str(error)


def _payload(line: bytes) -> Mapping[str, Any] | None:
    """What was sent, if that is an object."""
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"it has more than {MOST_LINE_BYTES} bytes")
    text = line.decode().strip()
    if not text.startswith("{"):
        _topic, _space, text = text.partition(" ")
        if not text.startswith("{"):
            return None
    said = json.loads(text)
    if "topic" in said and "payload" in said:
        said = said["payload"]
        if isinstance(said, str):
            said = json.loads(said) if said.startswith("{") else None
    return said if isinstance(said, dict) else None


def _message(said: Mapping[str, Any] | None) -> Recorded | None:
    if said is None or said.get("v") != 1 or "source" not in said:
        return None
    at = Stamp(_wall_ns(said["time"]), _monotonic_ns(said["monotonic_ms"]))
    source = SourceName(str(said["source"]))
    heard: Scene | Readings
    if "objects" in said:
        heard = Scene(
            source=source, at=at, objects=tuple(map(_sighting, _OBJECTS.validate_python(said["objects"])))
        )
    elif "readings" in said:
        readings = tuple(_reading(each, at) for each in said["readings"])
        scores = tuple(_score(each, at) for each in said["scores"])
        heard = Readings(source=source, at=at, readings=readings, scores=scores)
    else:
        return None
    return Recorded(node=f"{said['site']}/{said['node']}", boot=str(said["boot"]), said=heard)


def _sighting(found: Object) -> Sighting:
    return Sighting(
        class_name=found.class_name,
        confidence=found.confidence,
        box=found.box,
        zones=dict.fromkeys(found.zones or (), 0),
        track=found.track,
    )


def _reading(told: Mapping[str, Any], message: Stamp) -> Reading:
    quality: Quality = told["quality"]
    return Reading(
        name=str(told["name"]),
        value=float(told["value"]),
        unit=str(told["unit"]),
        at=_moment(told["time"], message),
        quality=quality,
    )


def _score(told: Mapping[str, Any], message: Stamp) -> Score:
    return Score(
        model=str(told["model"]),
        first=_moment(told["from"], message),
        last=_moment(told["to"], message),
        score=float(told["score"]),
        threshold=float(told["threshold"]),
    )


def _moment(text: str, message: Stamp) -> Stamp:
    """A moment near a message's own, which alone is told in both times."""
    wall_ns = _wall_ns(text)
    return Stamp(wall_ns, max(0, message.monotonic_ns + wall_ns - message.wall_ns))


def _wall_ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError(f"{text} is no time with its zone from {_YEARS.start} on, before {_YEARS.stop}")
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def _monotonic_ns(ms: object) -> int:
    if not isinstance(ms, int) or not 0 <= ms <= _MOST_UPTIME_MS:
        raise ValueError(f"monotonic_ms is {str(ms)[:40]}: no whole number from 0 to {_MOST_UPTIME_MS}")
    return ms * 1_000_000
