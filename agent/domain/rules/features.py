"""What a condition can ask: each a question with fixed arguments, whose answer is one plain value.

Equal questions are equal values, so that rules share their answers. An answer of None: not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from agent.domain.ids import SourceName
from agent.domain.rules.knowledge import Knowledge
from agent.domain.scene import Direction

Scalar = float | bool | str

_NUMBERS: tuple[Scalar, ...] = (0.0, 1.0, -3.5, 1e9)


class Feature(Protocol):
    """A question. `ages`: its answer changes also by the mere passing of time.

    `samples` are answers to try a condition with before it serves.
    """

    ages: ClassVar[bool]
    samples: ClassVar[Sequence[Scalar]]

    @property
    def sources(self) -> tuple[SourceName, ...]:
        """Whose news may change the answer."""

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None: ...


@dataclass(frozen=True, slots=True)
class Count:
    """How many objects the cameras that are not silent show; None where all are silent."""

    sources: tuple[SourceName, ...]
    class_name: str | None = None
    zone: str | None = None
    min_confidence: float = 0.0
    moving: bool | None = None

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        scenes = [scene for source in self.sources if (scene := known.census(source, now_ns)) is not None]
        if not scenes:
            return None
        return float(
            sum(
                scene.count(
                    self.class_name, self.zone, moving=self.moving, min_confidence=self.min_confidence
                )
                for scene in scenes
            )
        )


@dataclass(frozen=True, slots=True)
class Dwell:
    """For how many seconds the object has stood in a zone that has stood there longest; 0 where none does."""

    sources: tuple[SourceName, ...]
    zone: str
    class_name: str | None = None

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        scenes = [scene for source in self.sources if (scene := known.census(source, now_ns)) is not None]
        if not scenes:
            return None
        return max(scene.longest_ns(self.class_name, self.zone) for scene in scenes) / 1e9


@dataclass(frozen=True, slots=True)
class Crossed:
    """How often a line was crossed in the last `within_ns`."""

    sources: tuple[SourceName, ...]
    line: str
    class_name: str | None = None
    direction: Direction | None = None
    within_ns: int = 1_000_000_000

    ages: ClassVar[bool] = True
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        if all(known.census(source, now_ns) is None for source in self.sources):
            return None
        since_ns = now_ns - self.within_ns
        return float(
            sum(
                crossings.count(self.line, self.class_name, self.direction, since_ns=since_ns)
                for source in self.sources
                if (crossings := known.crossings(source)) is not None
            )
        )


@dataclass(frozen=True, slots=True)
class LastReading:
    """The last value of one quantity of a sensor, in its own unit."""

    source: SourceName
    name: str

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    @property
    def sources(self) -> tuple[SourceName, ...]:
        return (self.source,)

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        return known.reading(self.source, self.name, now_ns)


@dataclass(frozen=True, slots=True)
class LastScore:
    """The anomaly score of a sensor's last window."""

    source: SourceName

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    @property
    def sources(self) -> tuple[SourceName, ...]:
        return (self.source,)

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        score = known.score(self.source, now_ns)
        return None if score is None else score.score


@dataclass(frozen=True, slots=True)
class IsAnomalous:
    """Whether that score is above its model's threshold."""

    source: SourceName

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = (False, True)

    @property
    def sources(self) -> tuple[SourceName, ...]:
        return (self.source,)

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        score = known.score(self.source, now_ns)
        return None if score is None else score.score > score.threshold


@dataclass(frozen=True, slots=True)
class HealthOf:
    """How a source is, in a word: ok, waiting, degraded or failed."""

    source: SourceName

    ages: ClassVar[bool] = False
    samples: ClassVar[Sequence[Scalar]] = ("ok", "waiting", "degraded", "failed")

    @property
    def sources(self) -> tuple[SourceName, ...]:
        return (self.source,)

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:  # noqa: ARG002 nothing ages here
        return known.condition(self.source)


@dataclass(frozen=True, slots=True)
class AgeOf:
    """Seconds since a source's last frame or reading, or since it was added where there was none."""

    source: SourceName

    ages: ClassVar[bool] = True
    samples: ClassVar[Sequence[Scalar]] = _NUMBERS

    @property
    def sources(self) -> tuple[SourceName, ...]:
        return (self.source,)

    def answer(self, known: Knowledge, now_ns: int) -> Scalar | None:
        return known.silent_ns(self.source, now_ns) / 1e9
