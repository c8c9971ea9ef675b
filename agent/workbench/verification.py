"""Whether a model finds here what its reference found: the consistency check that every export needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.vision.agreement import Deviation, Tolerance, compare, outputs_apart
from agent.workbench.golden import Expected, Golden
from agent.workbench.references import on_runtime, open_runtime, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.adapters.onnx.detector import OnnxDetector
    from agent.workbench.pictures import NamedPicture

FLOOR: Final = 0.001
"""Both sides are decoded down to this confidence, so that nothing flickers at the limit that is compared."""

MOST_OBJECTS: Final = 3000
"""As many are kept of a picture: a list cut short would end with another object at every rounding."""

_LOWER: Final = (0.1, 0.01, FLOOR)


@dataclass(frozen=True, slots=True)
class Verification:
    """How far a model is from its `reference`, which is named in words.

    `confidence`: what was compared is at least as strong; lower than asked where the reference finds nothing.
    """

    reference: str
    confidence: float
    tolerance: Tolerance
    deviations: tuple[Deviation, ...]

    @property
    def objects(self) -> int:
        return sum(one.objects + one.missing + one.extra for one in self.deviations)

    @property
    def agrees(self) -> bool:
        """All pictures do, and there was something to compare."""
        compared = self.objects > 0 or any(one.output is not None for one in self.deviations)
        return compared and all(one.within(self.tolerance) for one in self.deviations)

    @property
    def why_not(self) -> str:
        """One sentence for where it does not agree."""
        apart = [one.picture for one in self.deviations if not one.within(self.tolerance)]
        if apart:
            return f"it differs from {self.reference} in {len(apart)} of {len(self.deviations)} pictures"
        return (
            f"nothing is found in any picture, by {self.reference} neither, so nothing was compared: "
            "give pictures that show something with --images"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        pictures = [{**asdict(one), "agrees": one.within(self.tolerance)} for one in self.deviations]
        return {
            "agrees": self.agrees,
            "reference": self.reference,
            "confidence": self.confidence,
            "objects": self.objects,
            "tolerance": asdict(self.tolerance),
            "pictures": pictures,
        }


def verify(
    detector: OnnxDetector,
    expected: Iterable[Expected],
    *,
    reference: str,
    confidence: float,
    iou: float,
    tolerance: Tolerance,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Hold the detector against what is expected of it. `progress` is told each picture's name.

    Raises:
        TransientError: the model failed on a picture.
        RefusedError: so did the reference.
    """
    recording, recorded = record(detector)
    thresholds = Thresholds(confidence=FLOOR, iou=iou, max_objects=MOST_OBJECTS)
    compared = []
    for one in expected:
        progress(one.name)
        (found,), _ = recording.detect([Look(one.pixels, thresholds)])
        output = None if one.outputs is None else outputs_apart(recorded.last, one.outputs)
        compared.append((one, found, output))
    strongest = max(
        (float(one.detections.confidence.max(initial=0.0)) for one, _, _ in compared), default=0.0
    )
    least = next((limit for limit in (confidence, *_LOWER) if limit <= strongest), confidence)
    least = min(least, confidence)
    deviations = tuple(
        compare(one.name, found, one.detections, least=least, tolerance=tolerance, output=output)
        for one, found, output in compared
    )
    return Verification(reference, least, tolerance, deviations)


def by_runtime(
    detector: OnnxDetector, name: str, pictures: Sequence[NamedPicture], *, iou: float
) -> Iterator[Expected]:
    """What another runtime finds with the same file.

    Raises:
        RefusedError: it does not run the file.
    """
    runtime = open_runtime(name, detector)
    return by_detector(on_runtime(detector, runtime)[0], pictures, iou=iou)


def by_detector(
    detector: OnnxDetector, pictures: Sequence[NamedPicture], *, iou: float
) -> Iterator[Expected]:
    """What a detector, such as the file before it was changed, finds."""
    recording, recorded = record(detector)
    thresholds = Thresholds(confidence=FLOOR, iou=iou, max_objects=MOST_OBJECTS)
    for picture in pictures:
        (found,), _ = recording.detect([Look(picture.pixels, thresholds)])
        yield Expected(picture.name, picture.pixels, found, recorded.last)


def as_golden(
    detector: OnnxDetector, pictures: Sequence[NamedPicture], *, confidence: float, iou: float
) -> Golden:
    """What the detector finds, to be kept."""
    facts = detector.facts
    thresholds = Thresholds(confidence=confidence, iou=iou)
    found = ((picture, detector.detect([Look(picture.pixels, thresholds)])[0][0]) for picture in pictures)
    return Golden(
        f"{detector.session.path.name} version {facts.version}, SHA-256 {facts.sha256}, "
        f"by {facts.provider_used}, confidence {confidence:g}, iou {iou:g}",
        tuple(Expected(picture.name, picture.pixels, one) for picture, one in found),
    )
