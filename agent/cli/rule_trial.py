"""Rules on recorded messages: what would have begun and ended, and when."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from agent.cli.trial_limits import not_told
from agent.cli.trial_ticks import Ticks
from agent.contract.recorded import Readings
from agent.domain.errors import Code, RefusedError
from agent.domain.rules.engine import Engine
from agent.domain.stamp import Stamp, rfc3339
from agent.domain.stays import Stays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.contract.recorded import Recorded
    from agent.domain.ids import SourceName
    from agent.domain.rules.course import Change
    from agent.domain.rules.prepared import RuleBook
    from agent.domain.scene import Scene

_TRACKS_OF_BOOT = 1 << 48

_KEPT_NS = 60_000_000_000
"""The most that `keep_s` can be."""


@dataclass(slots=True)
class TriedEvent:
    """An event as it would have been. `ended` None: it was still on at the last message."""

    rule: str
    began: Stamp
    values: dict[str, Any]
    ended: Stamp | None = None
    reason: str | None = None

    @property
    def lasted_s(self) -> float | None:
        return None if self.ended is None else (self.ended.wall_ns - self.began.wall_ns) / 1e9

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "began": rfc3339(self.began.wall_ns),
            "ended": None if self.ended is None else rfc3339(self.ended.wall_ns),
            "lasted_s": self.lasted_s,
            "reason": self.reason,
            "values": self.values,
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `unknown`: sources of the messages that the policy does not have.

    `not_told`: by rule, what it asks and no message tells.
    """

    events: tuple[TriedEvent, ...]
    messages: int
    first: Stamp | None
    last: Stamp | None
    unknown: tuple[str, ...]
    troubles: dict[str, str]
    not_told: dict[str, tuple[str, ...]]


def of_one_node(recorded: Iterable[Recorded], node: str | None) -> list[Scene | Readings]:
    """What a node said, in the order of its times, on a clock that goes on over its restarts.

    Raises:
        RefusedError: messages of several nodes, and it is not said which one is meant (`E_CONFLICT`).
    """
    kept = [each for each in recorded if node in {None, each.node}]
    nodes = sorted({each.node for each in kept})
    if len(nodes) > 1:
        raise RefusedError(
            f"the messages are of several nodes: {', '.join(nodes)}; choose one with --node",
            code=Code.CONFLICT,
        )
    boots = {boot: number for number, boot in enumerate(dict.fromkeys(each.boot for each in kept))}
    said = [each.said if len(boots) == 1 else _by_the_wall(each.said, boots[each.boot]) for each in kept]
    return sorted(said, key=lambda each: each.at.monotonic_ns)


def try_rules(book: RuleBook, said: Sequence[Scene | Readings]) -> Trial:
    """Let the rules judge what was said as the agent would have, with its times."""
    begin = said[0].at if said else Stamp(0, 0)
    numbers = count(1)
    engine = Engine(now=begin, new_id=lambda: str(next(numbers)))
    events: dict[str, TriedEvent] = {}
    dwelling = _Dwelling()
    changes = engine.adopt(book, begin)
    ticks = Ticks(book, begin)
    for each in said:
        now = each.at
        for tick in ticks.until(now):
            changes += engine.tick(tick)
        if isinstance(each, Readings):
            changes += engine.on_readings(each.source, each.readings, now)
            for score in each.scores:
                changes += engine.on_score(each.source, score, now)
        else:
            changes += engine.on_scene(dwelling.since(each), now)
        _note(changes, events)
        changes = []
    return Trial(
        events=tuple(sorted(events.values(), key=lambda event: event.began.monotonic_ns)),
        messages=len(said),
        first=said[0].at if said else None,
        last=said[-1].at if said else None,
        unknown=tuple(sorted({each.source for each in said} - book.sources)),
        troubles=engine.troubles,
        not_told=not_told(book, said),
    )


def _note(changes: Iterable[Change], events: dict[str, TriedEvent]) -> None:
    for change in changes:
        if change.phase == "begin":
            events[change.event] = TriedEvent(change.rule, change.began, dict(change.values))
        elif change.phase == "end":
            events[change.event].ended, events[change.event].reason = change.ended, change.reason


def _by_the_wall(said: Scene | Readings, boot: int) -> Scene | Readings:
    """Of several boots the wall clock alone tells the order, and each gives the numbers of tracks anew."""

    def moved(at: Stamp) -> Stamp:
        return Stamp(at.wall_ns, at.wall_ns)

    if isinstance(said, Readings):
        return replace(
            said,
            at=moved(said.at),
            readings=tuple(replace(each, at=moved(each.at)) for each in said.readings),
            scores=tuple(
                replace(each, first=moved(each.first), last=moved(each.last)) for each in said.scores
            ),
        )
    objects = (
        replace(one, track=None if one.track is None else one.track + boot * _TRACKS_OF_BOOT)
        for one in said.objects
    )
    return replace(said, at=moved(said.at), objects=tuple(objects))


class _Dwelling:
    """What messages do not tell: since when each track has stood in its zones. As the node reckons it."""

    def __init__(self) -> None:
        self._stays: dict[SourceName, Stays] = defaultdict(Stays)
        self._missed_ns: dict[SourceName, dict[int, int]] = defaultdict(dict)

    def since(self, scene: Scene) -> Scene:
        """The same scene with what was seen of its tracks before."""
        stays, now_ns = self._stays[scene.source], scene.at.monotonic_ns
        self._forget(scene)
        return replace(
            scene,
            objects=tuple(
                replace(
                    one,
                    zones=dict.fromkeys(one.zones, now_ns)
                    if one.track is None
                    else stays.since(one.track, one.zones, now_ns),
                )
                for one in scene.objects
            ),
        )

    def _forget(self, scene: Scene) -> None:
        """Tracks that no node would have kept for so long: their numbers are given anew after a restart."""
        stays, now_ns = self._stays[scene.source], scene.at.monotonic_ns
        there = {one.track for one in scene.objects}
        before = self._missed_ns[scene.source]
        missed = {track: before.get(track, now_ns) for track in stays.tracks if track not in there}
        self._missed_ns[scene.source] = missed
        stays.keep_only([each for each in stays.tracks if now_ns - missed.get(each, now_ns) <= _KEPT_NS])
