"""What was seen lately, judged anew: by one policy, or by two side by side."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from agent.domain.detections import Detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.rules.course import Change
from agent.domain.rules.engine import TICK_S, Engine
from agent.domain.rules.prepared import RuleBook
from agent.domain.stamp import Stamp
from agent.domain.thresholds import Thresholds
from agent.pipeline.recollection import Entry, Heard, SeenFrame
from agent.pipeline.results import FrameResult, WindowResult
from agent.pipeline.seeing import Seen
from agent.ports import ModelFacts
from agent.vision.heads.judging import Judge

See = Callable[[FrameResult], Seen]
"""From what a model found to a scene: a `Seeing` of a policy, without a past."""

_TICK_NS: Final = int(TICK_S * 1e9)
_NO_TIMING: Final = InferenceTiming(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Stance:
    """How one policy looks at things. `thresholds`: of the cameras that it runs."""

    thresholds: Mapping[SourceName, Thresholds]
    see: See
    book: RuleBook


@dataclass(slots=True)
class Camera:
    """What a policy made of a camera's frames. `dim`: of so many, weak candidates are not known far enough.

    `objects`: by class, of all frames together.
    """

    frames: int = 0
    with_objects: int = 0
    dim: int = 0
    objects: Counter[str] = field(default_factory=Counter)


class Replay:
    """Goes once through the entries, for all its stances at a time. For one thread.

    Time passes between them, as the rules want it, from `began`, the first entry, to `until`. What was on
    before is not known.
    """

    def __init__(self, stances: Sequence[Stance], entries: Sequence[Entry], until: Stamp) -> None:
        self.began = entries[0].now if entries else until
        self.until = until
        self.sides = [Side(stance, self.began) for stance in stances]
        self.done = 0
        """So many of the entries."""
        self._entries = entries
        self._judges: dict[int, tuple[ModelFacts, Judge]] = {}
        self._ticked_ns = self.began.monotonic_ns

    def run(self, go_on: Callable[[], bool]) -> bool:
        """Whether all was done; `go_on` is asked before each entry."""
        for entry in self._entries:
            if not go_on():
                return False
            self._tick_until(entry.now)
            self._take(entry)
            self.done += 1
        self._tick_until(self.until)
        return True

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Heard):
            for side in self.sides:
                side.hear(entry)
            return
        found: list[tuple[Thresholds, Detections]] = []
        for side in self.sides:
            thresholds = side.stance.thresholds.get(entry.source)
            if thresholds is None:
                continue
            # Most policies that are compared agree on most cameras.
            known = next((each for judged, each in found if judged == thresholds), None)
            detections = known or self._judge(entry.view.model).judge(entry.considered, thresholds)
            found.append((thresholds, detections))
            side.look(entry, detections, thresholds)

    def _judge(self, model: ModelFacts) -> Judge:
        key = id(model)
        if key not in self._judges:
            self._judges[key] = (model, Judge(model.class_names))
        return self._judges[key][1]

    def _tick_until(self, now: Stamp) -> None:
        while self._ticked_ns + _TICK_NS <= now.monotonic_ns:
            self._ticked_ns += _TICK_NS
            at = Stamp(now.wall_ns - (now.monotonic_ns - self._ticked_ns), self._ticked_ns)
            for side in self.sides:
                side.tick(at)


class Side:
    """One stance, and what came of it."""

    def __init__(self, stance: Stance, began: Stamp) -> None:
        self.stance = stance
        self.cameras: dict[SourceName, Camera] = {}
        self.events: dict[str, list[Change]] = {name: [] for name in stance.book.rules}
        """By rule, the begin of each event."""
        numbers = count(1)
        self._engine = Engine(now=began, new_id=lambda: f"{next(numbers)}")
        self._tell(self._engine.adopt(stance.book, began))

    def look(self, frame: SeenFrame, detections: Detections, thresholds: Thresholds) -> None:
        """The camera gave this, and this was found in it."""
        camera = self.cameras.setdefault(frame.source, Camera())
        scene = self.stance.see(_result(frame, detections)).scene
        camera.frames += 1
        camera.with_objects += bool(scene.objects)
        camera.dim += frame.known_from > min(thresholds.confidence, *thresholds.by_class.values(), 1.0)
        camera.objects.update(sighting.class_name for sighting in scene.objects)
        self._tell(self._engine.on_scene(scene, frame.now))

    def hear(self, heard: Heard) -> None:
        """A sensor said something, or a source is well or not."""
        match heard.what:
            case tuple() as readings:
                self._tell(self._engine.on_readings(heard.source, readings, heard.now))
            case WindowResult() as result:
                self._tell(self._engine.on_score(heard.source, result.score, heard.now))
            case status:
                self._tell(self._engine.on_condition(heard.source, status, heard.now))

    def tick(self, now: Stamp) -> None:
        """Time has passed."""
        if self.events:
            self._tell(self._engine.tick(now))

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.phase == "begin":
                self.events[change.rule].append(change)


def _result(frame: SeenFrame, detections: Detections) -> FrameResult:
    width_px, height_px = frame.view.frame
    return FrameResult(
        source=frame.source,
        number=frame.number,
        width_px=width_px,
        height_px=height_px,
        captured=frame.captured,
        detections=replace(detections, considered=None),
        model=frame.view.model,
        lane=0,
        timing=_NO_TIMING,
    )
