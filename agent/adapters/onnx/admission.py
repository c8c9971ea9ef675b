"""The gate before a model serves: what is golden must come out of it, here, with this provider, in time.

Layout, preprocessing, collapsed weights and another provider than asked for all show in the result, so one
comparison finds them; a model without golden results is tried for what is left: that it runs, and in time.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from agent.adapters.models.golden import Golden, GoldenPicture, GoldenWindow, Outputs, read_golden
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.contract.model_card import Tolerances
from agent.domain.errors import Code, RefusedError, TransientError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.vision.agreement import Deviation, Tolerance, compare, outputs_apart
from agent.vision.letterbox import Size

DEADLINE_S: Final = 60.0
"""For the whole gate. A first run may compile kernels or plans."""

_FRAME: Final = Size(720, 1280)
"""What a camera shows, for a model that nothing golden is known of."""

_TINY: Final = 1e-6

Admissible = OnnxDetector | OnnxAnomaly


@dataclass(frozen=True, slots=True)
class Standards:
    """What a model is held to.

    `slowest_ms`: for each golden input; a run before them warms up. Without `may_fall_back` another
    provider than the one asked for is no admission.
    """

    goldens: Sequence[Path] = ()
    allowed: Tolerances = field(default_factory=Tolerances)
    slowest_ms: float | None = None
    deadline_s: float = DEADLINE_S
    may_fall_back: bool = True


@dataclass(frozen=True, slots=True)
class Admission:
    """How a model passed: against so many `goldens`, with the largest differences met, in `seconds`.

    `box_px`, `confidence` and `output` are None where there was nothing to compare.
    """

    goldens: int
    objects: int
    box_px: float | None
    confidence: float | None
    output: float | None
    score: float | None
    seconds: float

    def __str__(self) -> str:
        """For a person."""
        if not self.goldens:
            return "it runs; nothing golden came with it, so its results were not compared"
        figures = (
            ("boxes", self.box_px, " px"),
            ("confidences", self.confidence, ""),
            ("outputs", self.output, ""),
            ("score", self.score, ""),
        )
        told = ", ".join(f"{what} {value:.2g}{unit}" for what, value, unit in figures if value is not None)
        return f"{self.goldens} golden inputs agree, {self.objects} objects; largest differences: {told}"


def admit(model: Admissible, standards: Standards) -> Admission:
    """Run every golden input through `model`. Blocks.

    Raises:
        RefusedError: a result is not the golden one (E_MODEL), the golden input does not fit the model as it
            is served here (E_COMPATIBILITY), it takes too long (E_TIMEOUT), it fails (E_MODEL), or another
            provider runs it than is allowed (E_PROVIDER).
    """
    gate = _Gate(model, standards)
    gate.check_provider()
    try:
        gate.smoke()
        for path in standards.goldens:
            gate.hold(read_golden(path))
    except TransientError as error:
        raise RefusedError(
            f"model {model.facts.name} is not admitted: {error.message}", code=error.code
        ) from error
    return gate.admission()


class _Gate:
    def __init__(self, model: Admissible, standards: Standards) -> None:
        self._model = model
        self._standards = standards
        self._began_s = time.monotonic()
        self._worst: dict[str, float] = {}
        self._objects = 0

    def admission(self) -> Admission:
        return Admission(
            goldens=len(self._standards.goldens),
            objects=self._objects,
            box_px=self._worst.get("box"),
            confidence=self._worst.get("confidence"),
            output=self._worst.get("output"),
            score=self._worst.get("score"),
            seconds=time.monotonic() - self._began_s,
        )

    def check_provider(self) -> None:
        facts = self._model.facts
        if facts.provider_used != facts.provider_asked and not self._standards.may_fall_back:
            raise self._refusal(
                f"it is to run on {facts.provider_asked}, and {facts.provider_used} would run it",
                Code.PROVIDER,
            )

    def smoke(self) -> None:
        """Run once, at the size that it will serve at: decoding refuses NaN and impossible confidences."""
        rng = np.random.default_rng(0)
        match self._model:
            case OnnxDetector():
                pixels = rng.integers(0, 256, (_FRAME.height_px, _FRAME.width_px, 3), np.uint8)
                self._model.detect([Look(pixels, Thresholds())])
            case OnnxAnomaly():
                self._model.score(self._model.typical_window())
        self._check_deadline("its first run")

    def hold(self, golden: Golden) -> None:
        began_s = time.monotonic()
        match golden, self._model:
            case GoldenPicture(), OnnxDetector():
                self._hold_picture(golden, self._model)
            case GoldenWindow(), OnnxAnomaly():
                self._hold_window(golden, self._model)
            case _:
                raise self._refusal(
                    f"golden/{golden.name} is for another kind of model than {self._model.facts.task}",
                    Code.COMPATIBILITY,
                )
        took_ms = (time.monotonic() - began_s) * 1e3
        slowest_ms = self._standards.slowest_ms
        if slowest_ms is not None and took_ms > slowest_ms:
            raise self._refusal(
                f"golden/{golden.name} took {took_ms:.0f} ms on {self._model.facts.provider_used}; "
                f"{slowest_ms:g} ms are allowed",
                Code.TIMEOUT,
            )
        self._check_deadline(f"golden/{golden.name}")

    def _hold_picture(self, golden: GoldenPicture, detector: OnnxDetector) -> None:
        if not detector.takes(golden.size):
            raise self._refusal(
                f"golden/{golden.name} is for an input of {golden.size.height_px}x{golden.size.width_px}, "
                "and it takes another size only; pack it again at the size that it is served at",
                Code.COMPATIBILITY,
            )
        allowed = self._standards.allowed
        confidence = allowed.confidence or 0.0
        # What is a hair below the limit here may be a hair above it there.
        least = max(golden.thresholds.confidence - confidence, 0.0)
        outputs, found = detector.examine(
            Look(golden.pixels, replace(golden.thresholds, confidence=least)), size=golden.size
        )
        deviation = compare(
            golden.name,
            found,
            golden.found,
            least=min(golden.thresholds.confidence + confidence, 1.0),
            tolerance=Tolerance(score=confidence),
        )
        self._objects += deviation.objects
        if not deviation.missing and not deviation.extra:
            self._judge_outputs(golden.name, outputs, golden.outputs)
        self._judge_objects(deviation, len(golden.found))

    def _judge_objects(self, deviation: Deviation, expected: int) -> None:
        allowed, name = self._standards.allowed, deviation.picture
        astray = deviation.missing + deviation.extra
        if astray > (allowed.missed or 0.0) * max(expected, 1):
            raise self._refusal(
                f"in golden/{name} it misses {deviation.missing} of {expected} objects and finds "
                f"{deviation.extra} that are not there"
            )
        self._judge("box", deviation.box_px, allowed.box_px, f"a box in golden/{name}", " px")
        confidence = max(deviation.score, deviation.keypoint or 0.0)
        self._judge("confidence", confidence, allowed.confidence, f"a confidence in golden/{name}")

    def _hold_window(self, golden: GoldenWindow, model: OnnxAnomaly) -> None:
        if golden.values.shape != (model.window, len(model.channels)):
            raise self._refusal(
                f"golden/{golden.name} is a window of {list(golden.values.shape)}, and it takes "
                f"{[model.window, len(model.channels)]}",
                Code.COMPATIBILITY,
            )
        score, _ = model.score(golden.values)
        apart = abs(score - golden.score) / (abs(golden.score) + _TINY)
        where = f"the score of golden/{golden.name} ({score:.6g} instead of {golden.score:.6g})"
        self._judge("score", apart, self._standards.allowed.score, where, " of its size")

    def _judge_outputs(self, name: str, outputs: Outputs, golden: Outputs) -> None:
        """Of a graph that was rewritten, outputs have other names: then its objects speak alone."""
        if self._standards.allowed.output is None:
            return
        for output in sorted(golden.keys() & outputs.keys()):
            apart = outputs_apart([outputs[output]], [golden[output]])
            if apart is None:
                raise self._refusal(
                    f"for golden/{name} its output {output} is {list(outputs[output].shape)}, not "
                    f"{list(golden[output].shape)}"
                )
            self._judge("output", apart, self._standards.allowed.output, f"output {output} for golden/{name}")

    def _judge(self, what: str, apart: float, allowed: float | None, where: str, unit: str = "") -> None:
        # Written so that NaN does not pass.
        if allowed is not None and not apart <= allowed:
            raise self._refusal(f"{where} is off by {apart:.3g}{unit}; {allowed:g}{unit} is allowed")
        self._worst[what] = max(self._worst.get(what, 0.0), apart)

    def _check_deadline(self, after: str) -> None:
        took_s = time.monotonic() - self._began_s
        if took_s > self._standards.deadline_s:
            raise self._refusal(
                f"after {after} {took_s:.1f} s have passed; {self._standards.deadline_s:g} s are allowed",
                Code.TIMEOUT,
            )

    def _refusal(self, why: str, code: Code = Code.MODEL) -> RefusedError:
        return RefusedError(f"model {self._model.facts.name} is not admitted: {why}", code=code)
