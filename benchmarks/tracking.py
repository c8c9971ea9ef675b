"""Measure how well tracks keep to who is who, and what following objects costs a frame.

Sequences of people are rendered as boxes with known truth: they cross, hide one another, stop, leave and come
in; the detector misses a tenth of them, finds some that are not there, and is unsure of who is half hidden.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any, Final

import numpy as np
import typer

from agent.contract.policy import Policy
from agent.domain.detections import Detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.stamp import Stamp
from agent.pipeline.results import FrameResult
from agent.pipeline.seeing import Seeing
from agent.ports import ModelFacts
from agent.vision.tracking import UNTRACKED, ByteTracker, TrackingRules
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.identity import Identity
from benchmarks.plain import JsonFile, Quick, print_figures, write_figures
from benchmarks.tracking_picture import draw
from benchmarks.walkers import WIDTH, Detector, Moment, sequence

_HEIGHT_PX: Final = 720
_CAMERA: Final = SourceName("camera")
_OBJECTS: Final = 20
_QUIET_CORES: Final = 0.1
_PERFECT: Final = Detector(misses=0.0, false_per_frame=0.0, noise=0.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """People in the picture, frames a second, and the detector; `name` begins the names of its figures."""

    name: str
    people: int = 8
    rate_hz: float = 10.0
    detector: Detector | None = None

    def moments(self, seed: int, duration_s: float) -> Iterator[Moment]:
        """One sequence."""
        return sequence(
            seed=seed, people=self.people, rate_hz=self.rate_hz, duration_s=duration_s, detector=self.detector
        )


SCENARIOS: Final = (
    Scenario(""),
    Scenario("perfect_detector_", detector=_PERFECT),
    Scenario("3_fps_", rate_hz=3.0),
    Scenario("5_fps_", rate_hz=5.0),
    Scenario("30_fps_", rate_hz=30.0),
    Scenario("crowd_", people=20),
)


def main(
    json_file: JsonFile = None,
    quick: Quick = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Measure nothing; draw half a minute as SVG.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure, print a table to stdout, and write the figures where --json says."""
    if picture is not None:
        picture.write_text(_picture(), encoding="utf-8")
        return
    environment, others = describe_machine(), OtherLoad()
    seeds, duration_s = (range(2), 3.0) if quick else (range(20), 30.0)
    figures: dict[str, float] = {}
    for scenario in SCENARIOS:
        figures |= identities(scenario, seeds, duration_s)
    figures |= costs(rounds=2 if quick else 10)
    print_figures(figures)
    environment |= {"sequences": len(seeds), "seconds_each": duration_s, "objects": _OBJECTS, "quick": quick}
    environment["others_cores"] = others_cores = others.cores()
    if others_cores > _QUIET_CORES:
        typer.echo(f"other processes kept {others_cores} cores busy: times are longer for it", err=True)
    write_figures(json_file, figures, environment)


def identities(scenario: Scenario, seeds: Sequence[int], duration_s: float) -> dict[str, float]:
    """IDF1 (mean and least over the sequences), and switches in a thousand boxes of people."""
    scores = [_scored(scenario.moments(seed, duration_s)) for seed in seeds]
    switches = sum(score.switches for score in scores)
    return {
        f"{scenario.name}idf1": round(fmean(score.idf1 for score in scores), 4),
        f"{scenario.name}idf1_least": round(min(score.idf1 for score in scores), 4),
        f"{scenario.name}switches": switches,
        f"{scenario.name}switches_per_1000": round(1000 * switches / sum(score.asked for score in scores), 3),
    }


def costs(rounds: int) -> dict[str, float]:
    """Microseconds a frame of 20 objects: tracking alone, and all of seeing with and without it."""
    busy = list(sequence(seed=1, people=_OBJECTS + 2, duration_s=10.0))  # a tenth is missed
    return {
        "track_us": _median_us(lambda: _track_all(busy), rounds),
        "see_us": _median_us(lambda: _see_all(busy, zones=4, tracking={}), rounds),
        "see_untracked_us": _median_us(lambda: _see_all(busy, zones=4, tracking=None), rounds),
        "see_bare_us": _median_us(lambda: _see_all(busy, zones=0, tracking=None), rounds),
    }


def _scored(moments: Iterator[Moment]) -> Identity:
    tracker, identity = ByteTracker(TrackingRules()), Identity()
    for moment in moments:
        numbers = _step(tracker, moment)
        tracked = numbers != UNTRACKED
        identity.add(moment.people, moment.truth, numbers[tracked], moment.boxes[tracked])
    return identity


def _step(tracker: ByteTracker, moment: Moment) -> Any:
    return tracker.step(
        moment.boxes, moment.confidence, np.zeros(len(moment.boxes), np.int64), at_ns=moment.at_ns
    )


def _track_all(moments: Sequence[Moment]) -> list[float]:
    tracker, took = ByteTracker(TrackingRules()), []
    for moment in moments:
        began = time.perf_counter_ns()
        _step(tracker, moment)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return took


def _see_all(moments: Sequence[Moment], *, zones: int, tracking: dict[str, Any] | None) -> list[float]:
    corners = [(0.1, 0.3), (0.9, 0.3), (0.95, 0.9), (0.5, 1.0), (0.05, 0.9)]
    camera = {
        "kind": "synthetic",
        "tracking": tracking,
        "zones": {f"zone-{number}": {"polygon": corners} for number in range(zones)},
        "lines": {} if tracking is None else {"gate": {"points": [(0.5, 0.2), (0.5, 1.0)]}},
    }
    seeing, took = Seeing(Policy.model_validate({"sources": {_CAMERA: camera}})), []
    for number, moment in enumerate(moments):
        result = _result(moment, number)
        began = time.perf_counter_ns()
        seeing.see(result)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return took


def _picture() -> str:
    camera = {
        "kind": "synthetic",
        "tracking": {},
        "zones": {
            "kerb": {"polygon": [(0.05, 0.62), (0.45, 0.55), (0.5, 0.98), (0.1, 0.98)]},
            "hedge": {"polygon": [(0.7, 0.3), (0.98, 0.3), (0.98, 0.48), (0.7, 0.48)], "mode": "exclude"},
        },
        "lines": {"gate": {"points": [(0.6, 0.98), (0.6, 0.4)]}},
    }
    policy = Policy.model_validate({"sources": {_CAMERA: camera}})
    seeing = Seeing(policy)
    moments = sequence(seed=3, people=6)
    return draw([seeing.see(_result(moment, 0)).scene for moment in moments], policy)


def _result(moment: Moment, number: int) -> FrameResult:
    return FrameResult(
        source=_CAMERA,
        number=number,
        width_px=round(WIDTH * _HEIGHT_PX),
        height_px=_HEIGHT_PX,
        captured=Stamp(0, moment.at_ns),
        detections=Detections(
            boxes=moment.boxes * _HEIGHT_PX,
            confidence=moment.confidence,
            class_id=np.zeros(len(moment.boxes), np.int32),
        ),
        model=_FACTS,
        lane=0,
        timing=InferenceTiming(0, 0, 0, 0),
    )


_FACTS: Final = ModelFacts(
    name="people",
    version="1",
    sha256="",
    task="detect",
    class_names={0: "person"},
    provider_asked="cpu",
    provider_used="cpu",
    graph="exported",
    precision="fp32",
)


def _median_us(measure: Callable[[], list[float]], rounds: int) -> float:
    return round(median(median(measure()) for _ in range(rounds)), 1)


if __name__ == "__main__":
    typer.run(main)
