"""From what a model found in a frame to a scene: zones, tracks and line crossings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from agent.contract.objects import class_name
from agent.contract.policy import Policy
from agent.contract.sources import CameraPart
from agent.contract.view import Line, Tracking, Zone
from agent.domain.detections import Detections
from agent.domain.ids import SourceName
from agent.domain.scene import Crossing, Scene, Sighting
from agent.pipeline.following import Followed, Following
from agent.pipeline.results import FrameResult
from agent.vision.zones import ZoneMap, ZoneShape, feet


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame as it is told and judged.

    `result`: with the detections that are left, and their fates after zones and tracking. `scene`: the same
    objects, in the same order. `follows`: the camera's objects are tracked. `is_late`: they would be, but a
    younger frame was seen before; so its objects have no tracks, and cross nothing.
    """

    result: FrameResult
    scene: Scene
    follows: bool
    is_late: bool


class Seeing:
    """Sees the frames of all cameras, as a policy has it. For one thread."""

    def __init__(self, policy: Policy) -> None:
        self._views: dict[SourceName, _View] = {}
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """From the next frame on. Tracks stay where tracking stays; no number is ever given twice."""
        for name, stanza in policy.sources.items():
            if isinstance(stanza, CameraPart):
                self._view(SourceName(name)).adopt(stanza.zones, stanza.lines, stanza.tracking)
        for name, view in self._views.items():
            if not isinstance(policy.sources.get(name), CameraPart):
                view.adopt({}, {}, None)

    def see(self, result: FrameResult) -> Seen:
        """The scene of a frame, and what of its detections is left."""
        return self._view(result.source).see(result)

    def _view(self, source: SourceName) -> "_View":
        return self._views.setdefault(source, _View())


class _View:
    """What one camera shows."""

    def __init__(self) -> None:
        self._stanzas: Mapping[str, Zone] = {}
        self._names: list[str] = []
        self._zones = ZoneMap([])
        self._excludes = np.empty(0, np.bool_)
        self._lines: Mapping[str, Line] = {}
        self._following: Following | None = None
        self._given = 0
        self._only_confirmed = False

    def adopt(self, zones: Mapping[str, Zone], lines: Mapping[str, Line], tracking: Tracking | None) -> None:
        if zones != self._stanzas:
            if self._following is not None:
                self._following.forget_zones(
                    [name for name, zone in self._stanzas.items() if zones.get(name) != zone]
                )
            self._stanzas = dict(zones)
            self._names = list(zones)
            self._zones = ZoneMap([_shape(name, zone) for name, zone in zones.items()])
            self._excludes = np.array([zone.mode == "exclude" for zone in zones.values()], np.bool_)
        self._lines = dict(lines)
        self._only_confirmed = tracking is not None and tracking.only_confirmed
        if self._following is not None:
            self._given = self._following.given
        if tracking is None:
            self._following = None
        elif self._following is None:
            self._following = Following(tracking, lines, given=self._given)
        else:
            self._following.adopt(tracking, lines)

    def see(self, result: FrameResult) -> Seen:
        found, frame_px = result.detections, (result.width_px, result.height_px)
        at_ns = result.captured.monotonic_ns
        is_late = self._following is not None and self._following.is_late(at_ns)
        classes = [class_name(result.model.class_names, each) for each in found.class_id.tolist()]
        places = feet(found.boxes) / frame_px
        stands = self._zones.standing(
            places,
            sides_px=(found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf),
            confidence=found.confidence,
            classes=classes,
        )
        left = np.flatnonzero(~stands[self._excludes].any(axis=0))
        objects = found.only(left)
        inside = [
            [name for name, stood in zip(self._names, column, strict=True) if stood]
            for column in stands.T[left].tolist()
        ]
        if self._following is None or is_late:
            followed = _unfollowed(inside, at_ns)
        else:
            followed = self._following.step(
                objects, zones=inside, places=places[left], frame_px=frame_px, at_ns=at_ns
            )
        sightings = _sightings(objects, [classes[index] for index in left.tolist()], followed, frame_px)
        told = [
            index
            for index, number in enumerate(followed.numbers)
            if number is not None or not self._only_confirmed
        ]
        remaining = objects if len(told) == len(objects) else objects.only(np.array(told, np.intp))
        fates = found.fates.seen(
            excluded=len(found) - len(objects), unconfirmed=len(objects) - len(remaining)
        )
        return Seen(
            result=replace(result, detections=replace(remaining, fates=fates)),
            scene=Scene(
                source=result.source,
                at=result.captured,
                objects=tuple(sightings[index] for index in told),
                crossings=tuple(self._crossings(followed, sightings)),
            ),
            follows=self._following is not None,
            is_late=is_late,
        )

    def _crossings(self, followed: Followed, sightings: list[Sighting]) -> list[Crossing]:
        crossings = []
        for passage in followed.passages:
            who, classes = sightings[passage.index], self._lines[passage.line].classes
            if who.track is not None and (classes is None or who.class_name in classes):
                crossings.append(Crossing(passage.line, who.class_name, who.track, passage.direction))
        return crossings


def _sightings(
    objects: Detections, classes: list[str], followed: Followed, frame_px: tuple[int, int]
) -> list[Sighting]:
    boxes = np.clip(objects.boxes / (frame_px * 2), 0.0, 1.0)
    return [
        Sighting(
            class_name=name,
            confidence=confidence,
            box=(x1, y1, x2, y2),
            zones=zones,
            track=track,
            moves=moves,
        )
        for name, confidence, (x1, y1, x2, y2), zones, track, moves in zip(
            classes,
            objects.confidence.tolist(),
            boxes.tolist(),
            followed.zones,
            followed.numbers,
            followed.moves,
            strict=True,
        )
    ]


def _unfollowed(zones: list[list[str]], at_ns: int) -> Followed:
    count = len(zones)
    return Followed(
        numbers=(None,) * count,
        moves=(True,) * count,
        zones=tuple(dict.fromkeys(names, at_ns) for names in zones),
        passages=(),
    )


def _shape(name: str, zone: Zone) -> ZoneShape:
    return ZoneShape(
        name=name,
        corners=np.array(zone.polygon, np.float64),
        classes=None if zone.classes is None else frozenset(zone.classes),
        min_confidence=zone.min_confidence or 0.0,
        min_side_px=zone.min_side_px or 0.0,
    )
