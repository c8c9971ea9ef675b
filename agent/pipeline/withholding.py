"""Which frames' messages are not worth sending."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from agent.contract.policy import Policy
from agent.domain.ids import SourceName
from agent.domain.scene import Sighting
from agent.pipeline.seeing import Seen
from agent.pipeline.token_bucket import TokenBucket
from agent.vision.overlap import overlaps
from agent.vision.tracking.assignment import CHOICES, best_pairs

Cause = Literal["empty", "unchanged", "rate"]

IN_PLACE: Final = 0.8
"""Overlap (IoU) of a box with the one last told, up to which it has moved noticeably."""

ABSENT_NS: Final = 1_000_000_000
"""A tracked object that is not seen for less than this is still there: detectors miss some."""

# A camera that gives just as many frames as it may tell of gives some of them a little early.
_BURST: Final = 2.0


class Withholding:
    """Decides frame by frame, as a policy's publish settings have it. For one thread."""

    def __init__(self, policy: Policy) -> None:
        self._cameras: dict[SourceName, _Camera] = {}
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """From the next frame on; the first of each camera counts as changed."""
        self._mode = policy.publish.detections
        self._per_s = policy.publish.detections_per_s
        self._cameras.clear()

    def why(self, seen: Seen) -> Cause | None:
        """Why a frame is not told, or None: then it is taken as told, and others are compared with it."""
        camera = self._cameras.setdefault(
            seen.scene.source, _Camera(TokenBucket(per_s=self._per_s, burst=_BURST))
        )
        camera.see(seen)
        if self._mode == "detected" and not seen.scene.objects:
            return "empty"
        if self._mode == "changed" and not camera.shows_news(seen):
            return "unchanged"
        camera.bucket.fill(seen.scene.at.monotonic_ns)
        if not camera.bucket.has_one:
            return "rate"
        camera.bucket.take()
        camera.told = _noteworthy(seen)
        return None


@dataclass(slots=True)
class _Camera:
    """`told`: what the last message told, None before the first; `seen_ns`: when each track was last seen."""

    bucket: TokenBucket
    told: tuple[Sighting, ...] | None = None
    seen_ns: dict[int, int] | None = None

    def see(self, seen: Seen) -> None:
        """Remember which of the tracks that were told are still there."""
        told = {one.track for one in self.told or () if one.track is not None}
        before = self.seen_ns or {}
        now = {one.track: seen.scene.at.monotonic_ns for one in seen.scene.objects if one.track is not None}
        self.seen_ns = {track: at_ns for track, at_ns in before.items() if track in told} | now

    def shows_news(self, seen: Seen) -> bool:
        """Whether other objects are there than told, or elsewhere, or in other zones."""
        if self.told is None:
            return True
        if seen.is_late:
            return False
        at_ns, shown = seen.scene.at.monotonic_ns, _noteworthy(seen)
        here = {one.track for one in shown}
        told = [
            one
            for one in self.told
            if one.track is None or one.track in here or self._is_gone(one.track, at_ns)
        ]
        return not _alike(shown, told)

    def _is_gone(self, track: int, at_ns: int) -> bool:
        return at_ns - (self.seen_ns or {}).get(track, 0) >= ABSENT_NS


def _noteworthy(seen: Seen) -> tuple[Sighting, ...]:
    """What a change is looked for in: all objects, or of a camera that follows them the confirmed ones."""
    return tuple(one for one in seen.scene.objects if one.track is not None or not seen.follows)


def _alike(shown: tuple[Sighting, ...], told: list[Sighting]) -> bool:
    """Whether each object has one of its kind on the other side, in the same zones and place."""
    if len(shown) != len(told):
        return False
    now, before = _by_kind(shown), _by_kind(told)
    if now.keys() != before.keys():
        return False
    for kind, boxes in now.items():
        over = overlaps(np.array(boxes), np.array(before[kind])) - IN_PLACE
        if len(best_pairs(over, choices=CHOICES)) != max(over.shape):
            return False
    return True


_Kind = tuple[str, int | None, frozenset[str]]


def _by_kind(objects: tuple[Sighting, ...] | list[Sighting]) -> Mapping[_Kind, list[tuple[float, ...]]]:
    boxes: dict[_Kind, list[tuple[float, ...]]] = {}
    for one in objects:
        boxes.setdefault((one.class_name, one.track, frozenset(one.zones)), []).append(one.box)
    return boxes
