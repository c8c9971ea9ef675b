"""What a node knows at a moment: the last scene, reading, score and condition of each source."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.domain.ids import SourceName
from agent.domain.reading import Reading, Score
from agent.domain.rules.census import Census
from agent.domain.rules.crossings import Crossings
from agent.domain.scene import Scene
from agent.domain.stamp import Stamp

SILENT_AFTER_S: Final = 30.0
"""What a source said last is not known any more after so long, where its own period is not longer."""


@dataclass(frozen=True, slots=True)
class Silence:
    """After how many nanoseconds without a word nothing is known of a source."""

    by_source: Mapping[SourceName, int]
    otherwise_ns: int = int(SILENT_AFTER_S * 1e9)

    def after_ns(self, source: SourceName) -> int:
        return self.by_source.get(source, self.otherwise_ns)


class Knowledge:
    """Times are monotonic nanoseconds, of when a thing became known; `since_ns` is when all this began."""

    def __init__(self, *, since_ns: int) -> None:
        self.silence = Silence({})
        self._since_ns = since_ns
        self._added_ns: dict[SourceName, int] = {}
        self._heard_ns: dict[SourceName, int] = {}
        self._moments: dict[SourceName, Stamp] = {}
        self._scenes: dict[SourceName, Census] = {}
        self._crossings: dict[SourceName, Crossings] = {}
        self._readings: dict[tuple[SourceName, str], tuple[int, float]] = {}
        self._scores: dict[SourceName, tuple[int, Score]] = {}
        self._conditions: dict[SourceName, str] = {}

    def see(self, scene: Scene, now_ns: int) -> None:
        """What a camera shows now."""
        self._heard_ns[scene.source] = now_ns
        self._moments[scene.source] = scene.at
        self._scenes[scene.source] = Census(scene)
        if scene.crossings:
            self._crossings.setdefault(scene.source, Crossings()).add(scene.crossings, now_ns)

    def hear(self, source: SourceName, reading: Reading, now_ns: int) -> None:
        """What a sensor says now; a bad reading, or one that is no number, says only that it is there."""
        self._heard_ns[source] = now_ns
        self._moments[source] = reading.at
        if reading.quality != "bad" and math.isfinite(reading.value):
            self._readings[source, reading.name] = (now_ns, reading.value)

    def rate(self, source: SourceName, score: Score, now_ns: int) -> None:
        """How strange a sensor's last window is."""
        self._moments[source] = score.last
        self._scores[source] = (now_ns, score)

    def tell(self, source: SourceName, status: str) -> None:
        """How a source is."""
        self._conditions[source] = status

    def keep_only(self, sources: frozenset[SourceName], now_ns: int) -> None:
        """Forget all others: they are no more. Those that are new are there from now on."""
        for source in sources - self._added_ns.keys():
            self._added_ns[source] = now_ns
        gone = self._added_ns.keys() | self._conditions.keys() | self._moments.keys()
        for source in gone - sources:
            self._added_ns.pop(source, None)
            self._heard_ns.pop(source, None)
            self._moments.pop(source, None)
            self._scenes.pop(source, None)
            self._crossings.pop(source, None)
            self._scores.pop(source, None)
            self._conditions.pop(source, None)
        for source, name in [key for key in self._readings if key[0] not in sources]:
            del self._readings[source, name]

    def census(self, source: SourceName, now_ns: int) -> Census | None:
        """Of the last scene, if the camera is not silent."""
        scene = self._scenes.get(source)
        return scene if scene is not None and self._is_fresh(source, self._heard_ns[source], now_ns) else None

    def crossings(self, source: SourceName) -> Crossings | None:
        """Of a camera's lines; None where none was crossed yet."""
        return self._crossings.get(source)

    def reading(self, source: SourceName, name: str, now_ns: int) -> float | None:
        """The last good value, if it is fresh."""
        at_ns, value = self._readings.get((source, name), (0, None))
        return value if value is not None and self._is_fresh(source, at_ns, now_ns) else None

    def score(self, source: SourceName, now_ns: int) -> Score | None:
        """The last one, if it is fresh."""
        at_ns, score = self._scores.get(source, (0, None))
        return score if score is not None and self._is_fresh(source, at_ns, now_ns) else None

    def condition(self, source: SourceName) -> str | None:
        """`ok`, `waiting`, `degraded` or `failed`; None before it is told."""
        return self._conditions.get(source)

    def silent_ns(self, source: SourceName, now_ns: int) -> int:
        """Since its last frame or reading, or since it was added where there was none yet."""
        added_ns = self._added_ns.get(source, self._since_ns)
        return max(0, now_ns - self._heard_ns.get(source, added_ns))

    def moment(self, source: SourceName) -> Stamp | None:
        """Of the last thing that it said."""
        return self._moments.get(source)

    def _is_fresh(self, source: SourceName, at_ns: int, now_ns: int) -> bool:
        return now_ns - at_ns <= self.silence.after_ns(source)
